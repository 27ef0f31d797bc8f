"""Alarms, as others see them: mail taken by aiosmtpd (STARTTLS and a login insisted on), a webhook by a server that fails first and checks
the signature with Python's own hmac, and messages read back from the pool by the XenAPI package. The service and its verbs are the
program's own."""

import email
import email.policy
import hmac
import http.server
import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import threading
import time

import trustme
import XenAPI
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

PASSWORD = "a pass phrase, with 'quotes'"
SECRET = "a secret for signatures"


class Smtp(Controller):
    """Says which free port it got; before, it looks whether it can be reached there."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """What was delivered, and how."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((mail, envelope.rcpt_tos, session.ssl is not None, session.authenticated))
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"xensnap", PASSWORD.encode())
    return AuthResult(success=known)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Fails the first two times of each message that is no test."""

    seen = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stamp = self.headers["X-Xensnap-Timestamp"]
        expected = "v1=" + hmac.new(SECRET.encode(), stamp.encode() + b"." + body, "sha256").hexdigest()
        assert hmac.compare_digest(expected, self.headers["X-Xensnap-Signature"]), "the signature is not true"
        assert abs(time.time() - int(stamp)) < 60, stamp
        message = json.loads(body)
        Receiver.seen.append(message)
        tries = sum(1 for other in Receiver.seen if other["message"] == message["message"])
        self.send_response(500 if message["form"] != "test" and tries <= 1 else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def wait_for(what, condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)
    return found


def secret(path, text):
    path.write_text(text + "\n")
    path.chmod(0o600)


def configure(work, address, smtp_port, hook_port):
    secret(work / "pool.password", "xensnap")
    secret(work / "mail.password", PASSWORD)
    secret(work / "hook.secret", SECRET)
    (work / "xensnap.toml").write_text(f"""
installation = "peers"
[daemon]
socket = "control.sock"
[store]
path = "history.sqlite"
[[pool]]
name = "lab"
addresses = ["{address}"]
username = "root"
password_file = "pool.password"
[alarms]
interval = "0s"
[alarms.pool_messages]
[[alarms.mail]]
name = "admins"
host = "localhost"
port = {smtp_port}
username = "xensnap"
password_file = "mail.password"
from = "xensnap@example.org"
to = ["ops@example.org", "boss@example.org"]
ca_file = "ca.pem"
[[alarms.webhook]]
name = "chat"
url = "http://localhost:{hook_port}/alarms"
secret_file = "hook.secret"
""")
    (work / "policies.d").mkdir()
    (work / "policies.d" / "never.toml").write_text("""
[[policy]]
name = "Fails"
id = "fails"
schedule = { cron = "0 2 1 1 *", zone = "UTC" }
select = { all = true }
hooks = [{ phase = "before_vm", command = ["/bin/false"] }]
retention = { last = 1 }
""")


def main(program, address, work):
    work = pathlib.Path(work)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(work / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    mailbox = Mailbox()
    smtp = Smtp(mailbox, hostname="127.0.0.1", port=0, tls_context=context, require_starttls=True,
                authenticator=authenticate, auth_required=True, auth_require_tls=True)
    smtp.start()
    hook = http.server.ThreadingHTTPServer(("localhost", 0), Receiver)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    configure(work, address, smtp.port, hook.server_address[1])

    def xensnap(*words):
        done = subprocess.run([program, *words, "--config", work / "xensnap.toml"], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    service = subprocess.Popen([program, "daemon", "--config", work / "xensnap.toml", "--log-format", "text"], stderr=(work / "log").open("w"))
    try:
        wait_for("the service", lambda: xensnap("status", "--json")[0] == 0)
        wait_for("the pool", lambda: json.loads(xensnap("status", "--json")[1])["pools"][0]["phase"] == "connected")
        tried(xensnap, mailbox)
        failed(xensnap, mailbox)
        in_the_pool(address)
    except BaseException:
        print((work / "log").read_text(), file=sys.stderr)
        raise
    finally:
        service.terminate()
        service.wait(60)
        smtp.stop()
    print("aiosmtpd, hmac, python XenAPI: fine")


def tried(xensnap, mailbox):
    code, said = xensnap("alarms", "test")
    print(said.strip())
    assert code == 0 and all(f"{name}: " in said for name in ["admins", "chat", "pool:lab"]), said
    mail, recipients, encrypted, authenticated = mailbox.mails.pop()
    assert encrypted and authenticated and recipients == ["ops@example.org", "boss@example.org"]
    assert mail["Subject"] == "[xensnap peers] a test of this channel", mail["Subject"]
    assert mail["From"] == "xensnap peers <xensnap@example.org>" and mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] and mail["Date"] and "It works." in mail.get_content()


def failed(xensnap, mailbox):
    code, said = xensnap("run", "fails")
    assert code == 1, said
    mail, _, encrypted, _ = wait_for("the mail", lambda: mailbox.mails and mailbox.mails[0])
    text = mail.get_content().replace("\r\n", "\n")
    assert encrypted and "policy Fails: run 1 failed" in mail["Subject"], mail["Subject"]
    assert text.startswith("Began\n") and "installation peers" in text and "policy fails" in text, text
    print(mail["Subject"])
    told = wait_for("the webhook", lambda: [message for message in Receiver.seen if message["form"] != "test"][1:])
    assert told[0]["alarms"][0]["code"] == "run-failed" and told[0]["alarms"][0]["vms"], told
    assert f"<{told[0]['message']}@example.org>" == mail["Message-ID"]
    waiting = lambda: [one for one in json.loads(xensnap("alarms", "--json")[1])["deliveries"] if one["state"] != "delivered"]
    wait_for("all deliveries", lambda: not waiting())
    assert len(mailbox.mails) == 1, "it is told once"


def in_the_pool(address):
    session = XenAPI.Session(address)
    session.xenapi.login_with_password("root", "xensnap", "1.0", "peer")
    pool = session.xenapi.pool.get_uuid(session.xenapi.pool.get_all()[0])
    messages = [one for one in session.xenapi.message.get_all_records().values() if one["name"].startswith("VMSS_")]
    assert {one["name"] for one in messages} == {"VMSS_SNAPSHOT_SUCCEEDED", "VMSS_SNAPSHOT_FAILED"}, messages
    failed = next(one for one in messages if one["name"] == "VMSS_SNAPSHOT_FAILED")
    assert (failed["cls"], failed["obj_uuid"], failed["priority"]) == ("Pool", pool, "3"), failed
    # Name, uuid and error of each VM, as a reader of messages of scheduled snapshots takes them apart.
    form = re.compile(r"^VM:(?P<name>.+) UUID:(?P<uuid>[0-9a-f-]{36}) Error:\[(?P<error>'.*')\],$")
    for line in failed["body"].splitlines():
        found = form.match(line)
        assert found or line.startswith("and "), line
        if found:
            vm = session.xenapi.VM.get_by_uuid(found["uuid"])
            assert session.xenapi.VM.get_name_label(vm) == found["name"], line
    print(failed["body"].splitlines()[0])
    session.xenapi.session.logout()


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
