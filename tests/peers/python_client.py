"""The XenAPI package from PyPI works with the simulated pool: XML-RPC, sessions, snapshots, tasks, events, errors."""

import sys
import time

import XenAPI


def wait_for(session, task):
    """Polls a task to its end and destroys it, as scripts in the field do."""
    deadline = time.monotonic() + 60
    while session.xenapi.task.get_status(task) == "pending":
        assert time.monotonic() < deadline, "the task does not end"
        time.sleep(0.05)
    record = session.xenapi.task.get_record(task)
    session.xenapi.task.destroy(task)
    assert record["status"] == "success", record["error_info"]
    return record["result"]


def main(url):
    session = XenAPI.Session(url, ignore_ssl=True)
    try:
        session.xenapi.login_with_password("root", "wrong", "1.0", "peer")
    except XenAPI.Failure as failure:
        assert failure.details[0] == "SESSION_AUTHENTICATION_FAILED", failure.details
    else:
        raise AssertionError("a wrong password was accepted")

    session.xenapi.login_with_password("root", "xensnap", "1.0", "peer")
    pool = session.xenapi.pool.get_all()[0]
    master = session.xenapi.pool.get_master(pool)
    print("master", session.xenapi.host.get_name_label(master), session.xenapi.host.get_software_version(master)["product_version"])

    records = session.xenapi.VM.get_all_records()
    plain = {r: v for r, v in records.items() if not (v["is_a_template"] or v["is_a_snapshot"] or v["is_control_domain"])}
    assert plain, "the pool has no VM"
    vm, record = sorted(plain.items())[0]
    assert int(record["memory_static_max"]) > 0
    print(len(records), "VM records,", len(plain), "virtual machines")

    event_from = getattr(session.xenapi.event, "from")
    token = event_from(["vm"], "", 5.0)["token"]
    snapshot = session.xenapi.VM.snapshot(vm, "taken by the python package")
    taken = session.xenapi.VM.get_record(snapshot)
    assert taken["is_a_snapshot"] and taken["is_a_template"] and taken["snapshot_of"] == vm, taken
    assert snapshot in session.xenapi.VM.get_snapshots(vm)
    events = event_from(["vm"], token, 5.0)["events"]
    assert any(event["ref"] == snapshot and event["operation"] == "add" for event in events), events

    result = wait_for(session, session.xenapi.Async.VM.snapshot(vm, "as a task"))
    assert result.startswith("<value>OpaqueRef:"), result
    second = result[len("<value>"):-len("</value>")]
    for gone in (snapshot, second):
        disks = [session.xenapi.VBD.get_VDI(vbd) for vbd in session.xenapi.VM.get_VBDs(gone) if session.xenapi.VBD.get_type(vbd) == "Disk"]
        session.xenapi.VM.destroy(gone)
        for disk in disks:
            session.xenapi.VDI.destroy(disk)
    try:
        session.xenapi.VM.get_record(snapshot)
    except XenAPI.Failure as failure:
        assert failure.details == ["HANDLE_INVALID", "VM", snapshot], failure.details
    else:
        raise AssertionError("a destroyed snapshot still answers")
    session.xenapi.session.logout()
    print("python XenAPI: fine")


if __name__ == "__main__":
    main(sys.argv[1])
