//! A host to talk to: a tiny HTTP server on loopback that answers XenAPI calls on both wires from a table of closures. It knows no
//! more of a pool than logins; every test says what else it answers.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// A request as it was read off the wire.
#[derive(Debug, Clone)]
pub struct Heard {
    pub verb: String,
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Bytes of request line and headers.
    pub head_size: usize,
}

/// A XenAPI call as it was understood.
#[derive(Debug, Clone)]
pub struct Rpc {
    pub method: String,
    pub params: Vec<Value>,
    pub heard: Heard,
}

impl Rpc {
    pub fn text(&self, index: usize) -> &str {
        self.params.get(index).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn is_xml(&self) -> bool {
        self.heard.target == "/"
    }
}

/// What a host does about a call.
#[derive(Debug, Clone)]
pub enum Reply {
    Value(Value),
    Failure(Vec<String>),
    /// Closes the connection without a word.
    Cut,
    /// Never answers.
    Hang,
    /// These bytes instead of an answer, then the end of the connection.
    Raw(Vec<u8>),
}

pub fn failure(words: &[&str]) -> Reply {
    Reply::Failure(words.iter().map(|word| (*word).to_owned()).collect())
}

type HttpHandler = Arc<dyn Fn(Heard) -> Option<Vec<u8>> + Send + Sync>;
type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Handler = Arc<dyn Fn(Rpc) -> Later + Send + Sync>;

/// What one host knows and does.
pub struct Host {
    pub port: u16,
    state: Mutex<State>,
}

struct State {
    handlers: BTreeMap<String, Handler>,
    sessions: HashSet<String>,
    opened: usize,
    log: Vec<Rpc>,
    connections: usize,
    json: JsonStyle,
    password: String,
    /// Set: the host is a member and names this master.
    master: Option<String>,
    /// Left to answer with these words.
    emergency: (usize, Vec<String>),
    pool_uuid: String,
    members: Vec<String>,
    agent_start_time: String,
    http: Option<HttpHandler>,
    down: Option<tokio::task::AbortHandle>,
}

/// How `/jsonrpc` answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JsonStyle {
    Two,
    /// 6.5 to 7.2.
    One,
    /// Up to 6.2: the XML handler gets it.
    None,
}

/// How a connection is wrapped.
#[derive(Clone)]
pub enum Wrap {
    Plain,
    Tls(tokio_rustls::TlsAcceptor),
}

impl Host {
    /// A master that listens on plain HTTP.
    pub async fn start() -> Arc<Host> {
        Host::start_wrapped(Wrap::Plain, 0).await
    }

    /// A host on `port` (0: any).
    pub async fn start_wrapped(wrap: Wrap, port: u16) -> Arc<Host> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = State {
            handlers: BTreeMap::new(),
            sessions: HashSet::new(),
            opened: 0,
            log: Vec::new(),
            connections: 0,
            json: JsonStyle::Two,
            password: "secret".into(),
            master: None,
            emergency: (0, Vec::new()),
            pool_uuid: "11111111-1111-1111-1111-111111111111".into(),
            members: vec!["127.0.0.1".into()],
            agent_start_time: "1700000000.".into(),
            http: None,
            down: None,
        };
        let host = Arc::new(Host { port, state: Mutex::new(state) });
        let listening = tokio::spawn(listen(Arc::clone(&host), listener, wrap));
        host.lock().down = Some(listening.abort_handle());
        host
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `method` with what `answer` says, each time.
    pub fn on(&self, method: &str, answer: impl Fn(Rpc) -> Reply + Send + Sync + 'static) {
        self.on_later(method, move |rpc| {
            let reply = answer(rpc);
            async move { reply }
        });
    }

    /// As [`Host::on`], taking its time.
    pub fn on_later<F>(&self, method: &str, answer: impl Fn(Rpc) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.lock().handlers.insert(method.to_owned(), Arc::new(move |rpc| Box::pin(answer(rpc))));
    }

    /// Answers what is no call; `None` is left to the usual.
    pub fn on_http(&self, answer: impl Fn(Heard) -> Option<Vec<u8>> + Send + Sync + 'static) {
        self.lock().http = Some(Arc::new(answer));
    }

    pub fn speaks(&self, json: JsonStyle) {
        self.lock().json = json;
    }

    pub fn set_master(&self, master: Option<&str>) {
        self.lock().master = master.map(str::to_owned);
    }

    /// The next `times` calls find the host starting.
    pub fn set_emergency(&self, times: usize, words: &[&str]) {
        self.lock().emergency = (times, words.iter().map(|word| (*word).to_owned()).collect());
    }

    pub fn set_pool_uuid(&self, uuid: &str) {
        self.lock().pool_uuid = uuid.to_owned();
    }

    pub fn set_members(&self, members: &[&str]) {
        self.lock().members = members.iter().map(|member| (*member).to_owned()).collect();
    }

    /// All sessions end, and the toolstack has another start time.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.sessions.clear();
        state.agent_start_time = format!("{}.", 1_700_000_000 + state.opened);
    }

    pub fn end_sessions(&self) {
        self.lock().sessions.clear();
    }

    /// Nobody listens any more; open connections stay.
    pub fn stop_listening(&self) {
        if let Some(listening) = self.lock().down.take() {
            listening.abort();
        }
    }

    pub fn open_sessions(&self) -> usize {
        self.lock().sessions.len()
    }

    pub fn opened_sessions(&self) -> usize {
        self.lock().opened
    }

    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// How often `method` was called.
    pub fn count(&self, method: &str) -> usize {
        self.lock().log.iter().filter(|rpc| rpc.method == method).count()
    }

    pub fn calls(&self) -> Vec<Rpc> {
        self.lock().log.clone()
    }

    async fn answer(&self, rpc: Rpc) -> Reply {
        let handler = {
            let mut state = self.lock();
            state.log.push(rpc.clone());
            state.handlers.get(&rpc.method).cloned()
        };
        if let Some(refusal) = self.before_dispatch(&rpc) {
            return refusal;
        }
        match handler {
            Some(handler) => handler(rpc).await,
            None => self.usual(&rpc),
        }
    }

    fn before_dispatch(&self, rpc: &Rpc) -> Option<Reply> {
        let mut state = self.lock();
        if state.emergency.0 > 0 {
            state.emergency.0 -= 1;
            return Some(Reply::Failure(state.emergency.1.clone()));
        }
        if rpc.params.is_empty() {
            return Some(failure(&["MESSAGE_PARAMETER_COUNT_MISMATCH", &rpc.method, "0", "-1"]));
        }
        if let Some(master) = &state.master {
            return Some(failure(&["HOST_IS_SLAVE", master]));
        }
        let login = rpc.method == "session.login_with_password";
        (!login && !state.sessions.contains(rpc.text(0))).then(|| failure(&["SESSION_INVALID", rpc.text(0)]))
    }

    fn usual(&self, rpc: &Rpc) -> Reply {
        let mut state = self.lock();
        match rpc.method.as_str() {
            "session.login_with_password" if rpc.text(1) == state.password => {
                state.opened += 1;
                let session = format!("OpaqueRef:session-{}-{}", self.port, state.opened);
                state.sessions.insert(session.clone());
                Reply::Value(json!(session))
            }
            "session.login_with_password" => failure(&["SESSION_AUTHENTICATION_FAILED", rpc.text(0), "Authentication failure"]),
            "session.logout" => {
                state.sessions.remove(rpc.text(0));
                Reply::Value(json!(""))
            }
            "pool.get_all" => Reply::Value(json!(["OpaqueRef:pool"])),
            "pool.get_all_records" => Reply::Value(
                json!({"OpaqueRef:pool": {"uuid": state.pool_uuid, "master": "OpaqueRef:host0", "name_label": "lab"}}),
            ),
            "host.get_all_records" => Reply::Value(hosts(&state)),
            other => failure(&["MESSAGE_METHOD_UNKNOWN", other]),
        }
    }
}

fn hosts(state: &State) -> Value {
    let hosts = state.members.iter().enumerate().map(|(index, address)| {
        let other_config = json!({"agent_start_time": state.agent_start_time});
        (
            format!("OpaqueRef:host{index}"),
            json!({"uuid": format!("host-{index}"), "address": address, "other_config": other_config}),
        )
    });
    Value::Object(hosts.collect())
}

async fn listen(host: Arc<Host>, listener: TcpListener, wrap: Wrap) {
    while let Ok((socket, _)) = listener.accept().await {
        host.lock().connections += 1;
        let (host, wrap) = (Arc::clone(&host), wrap.clone());
        tokio::spawn(async move {
            match wrap {
                Wrap::Plain => serve(&host, socket).await,
                Wrap::Tls(acceptor) => match acceptor.accept(socket).await {
                    Ok(socket) => serve(&host, socket).await,
                    Err(_) => None,
                },
            }
        });
    }
}

async fn serve(host: &Host, socket: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let heard = read_request(&mut socket).await?;
        let special = host.lock().http.clone().and_then(|answer| answer(heard.clone()));
        if let Some(bytes) = special {
            socket.write_all(&bytes).await.ok()?;
            socket.flush().await.ok()?;
            socket.shutdown().await.ok()?;
            return None;
        }
        let json = host.lock().json;
        let xml = heard.target != "/jsonrpc" || json == JsonStyle::None;
        let Some(rpc) = understand(&heard, xml) else {
            write_http(&mut socket, 500, "text/html", b"<html><body><h1>HTTP 500 internal server error</h1></body></html>")
                .await?;
            return None;
        };
        let id = serde_json::from_slice::<Value>(&heard.body).map(|call| call["id"].clone()).unwrap_or_default();
        match host.answer(rpc).await {
            Reply::Cut => return None,
            Reply::Hang => std::future::pending::<()>().await,
            Reply::Raw(bytes) => {
                socket.write_all(&bytes).await.ok()?;
                socket.shutdown().await.ok()?;
                return None;
            }
            reply if xml => write_http(&mut socket, 200, "text/xml", xml_answer(&reply).as_bytes()).await?,
            reply => write_http(&mut socket, 200, "application/json", json_answer(&reply, json, &id).as_bytes()).await?,
        }
    }
}

async fn read_request(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<Heard> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
        if !head[0].is_ascii_uppercase() {
            // As the real server does with what is no request.
            write_http(socket, 408, "text/html", b"<html></html>").await;
            return None;
        }
    }
    let text = String::from_utf8(head.clone()).ok()?;
    let mut lines = text.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (verb, target) = (request.next()?.to_owned(), request.next()?.to_owned());
    let headers: BTreeMap<String, String> =
        lines.filter_map(|line| line.split_once(':')).map(|(k, v)| (k.to_lowercase(), v.trim().to_owned())).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; if length > 4 << 20 { 0 } else { length }];
    socket.read_exact(&mut body).await.ok()?;
    if length > 4 << 20 {
        tokio::io::copy(&mut socket.take(length as u64), &mut tokio::io::sink()).await.ok()?;
    }
    Some(Heard { verb, target, headers, body, head_size: head.len() })
}

pub async fn write_http(socket: &mut (impl AsyncWrite + Unpin), status: u16, kind: &str, body: &[u8]) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: keep-alive\r\ncache-control: no-cache, no-store\r\ncontent-type: {kind}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(body).await.ok()?;
    socket.flush().await.ok()
}

fn understand(heard: &Heard, xml: bool) -> Option<Rpc> {
    if xml { xml_call(heard) } else { json_call(heard) }
}

fn json_call(heard: &Heard) -> Option<Rpc> {
    let call: Value = serde_json::from_slice(&heard.body).ok()?;
    let params = call["params"].as_array().cloned().unwrap_or_default();
    Some(Rpc { method: call["method"].as_str()?.to_owned(), params, heard: heard.clone() })
}

/// Text parameters only; others arrive as their source.
fn xml_call(heard: &Heard) -> Option<Rpc> {
    let text = String::from_utf8(heard.body.clone()).ok()?;
    let method = text.split_once("<methodName>")?.1.split_once("</methodName>")?.0.to_owned();
    let params = text.split("<param><value>").skip(1).filter_map(|rest| rest.split_once("</value></param>"));
    let params = params.map(|(value, _)| json!(value.replace("<string>", "").replace("</string>", ""))).collect();
    Some(Rpc { method, params, heard: heard.clone() })
}

fn json_answer(reply: &Reply, style: JsonStyle, id: &Value) -> String {
    let answer = match (reply, style) {
        (Reply::Value(value), JsonStyle::One) => json!({"result": value, "error": null, "id": 0}),
        (Reply::Value(value), _) => json!({"jsonrpc": "2.0", "result": value, "id": id}),
        (Reply::Failure(words), JsonStyle::One) => json!({"result": null, "error": words, "id": 0}),
        (Reply::Failure(words), _) if words[0].starts_with("HOST_") && words[0] != "HOST_IS_SLAVE" => {
            json!({"jsonrpc": "2.0", "error": words, "id": 0})
        }
        (Reply::Failure(words), _) => {
            json!({"jsonrpc": "2.0", "error": {"code": 1, "message": words[0], "data": words[1..]}, "id": id})
        }
        _ => Value::Null,
    };
    answer.to_string()
}

fn xml_answer(reply: &Reply) -> String {
    let (status, name, value) = match reply {
        Reply::Value(value) => ("Success", "Value", value.clone()),
        Reply::Failure(words) => ("Failure", "ErrorDescription", json!(words)),
        _ => return String::new(),
    };
    format!(
        "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name><value>{status}</value></member>\
         <member><name>{name}</name>{}</member></struct></value></param></params></methodResponse>",
        xml_value(&value)
    )
}

pub fn xml_value(value: &Value) -> String {
    let inner = match value {
        Value::Null => String::new(),
        Value::Bool(value) => format!("<boolean>{}</boolean>", u8::from(*value)),
        Value::Number(number) if number.is_f64() => format!("<double>{number}</double>"),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        Value::Array(values) => format!("<array><data>{}</data></array>", values.iter().map(xml_value).collect::<String>()),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("<member><name>{name}</name>{}</member>", xml_value(value)));
            format!("<struct>{}</struct>", members.collect::<String>())
        }
    };
    format!("<value>{inner}</value>")
}
