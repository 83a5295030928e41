//! Every fault befalls every operation; a table says what comes of it.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use registry_client::{HttpPolicy, Reason, RegistryError};
use test_support::{Answer, Fault, FaultProxy, Registry, RegistryOptions, Rule, TokenServer, TokenServerOptions};

use crate::{
    operation::{ALL, ELSEWHERE, Operation, Subject},
    place::{PASSWORD, USER, assert_no_secret_went_to, at, client, policy},
};

/// How long an operation may take that a fault makes endless.
const LIMIT: Duration = Duration::from_secs(4);
/// How long a silent server is waited for.
const SILENCE: Duration = Duration::from_millis(1500);
/// Nobody waits so long for an operation; it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

type Make = fn(&FaultProxy) -> Fault;

/// A fault, how often it happens, and how often it happens at most in one operation.
const FAULTS: &[(&str, Option<usize>, Make)] = &[
    ("delay", None, |_| Fault::Delay(Duration::from_millis(50))),
    ("silence", None, |_| Fault::Silence),
    ("answer cut once", Some(1), |_| Fault::CutAnswer(1)),
    ("answer cut", None, |_| Fault::CutAnswer(1)),
    ("request cut once", Some(1), |_| Fault::CutRequest(5)),
    ("request cut", None, |_| Fault::CutRequest(5)),
    ("429 once", Some(1), |_| Fault::too_many_requests(7)),
    ("429", None, |_| Fault::too_many_requests(7)),
    ("429 for an hour", None, |_| Fault::too_many_requests(3600)),
    ("500 once", Some(1), |_| Fault::status(500)),
    ("500", None, |_| Fault::status(500)),
    ("502 once", Some(1), |_| Fault::status(502)),
    ("502", None, |_| Fault::status(502)),
    ("403", None, |_| Fault::status(403)),
    ("wrong digest", None, |_| Fault::wrong_digest()),
    ("length too large", None, |_| Fault::wrong_length(1)),
    ("length too small", None, |_| Fault::wrong_length(-1)),
    ("endless body", None, |_| Fault::Endless),
    ("slow drip", None, |_| Fault::Drip(Duration::from_millis(20))),
    ("redirect", None, |stranger| {
        Fault::redirect(307, &format!("http://{}/elsewhere", stranger.host()))
    }),
    ("foreign realm", None, |stranger| {
        Fault::realm(&format!("http://{}/token", stranger.host()), "repository:x:pull")
    }),
];

/// Rows are faults, columns operations. `ok 2` is a success after the request was sent twice; else it is the kind of
/// error, behind `~` where another attempt later may help, and how often the request was sent.
///
/// - An upload in parts that breaks is given up by this registry (`~404`): whoever has the bytes begins anew. So does who
///   streams them in one request (`Stream`), whatever happens to it. Closing the stream (`Finish`) can be repeated.
/// - A deletion whose answer is lost finds nothing more to delete (`404 2`).
/// - A mount that is refused becomes a push (`ok`).
/// - A blob that is read goes on where it broke, so it takes more requests until it is given up.
/// - Reads follow a redirect without credentials; what has a digest is not taken from there, what has none (tags,
///   referrers) is what the registry leads to (`told`).
/// - An answer to a write is judged by its status and digest, so that its body does not matter.
const WITH_PASSWORD: &str = r"
                 Head         Manifest     Blob         HasBlob      PushBlob     StartUpload  Stream       Finish       PushNew      Mount        PushManifest Tags         Referrers    Delete       CheckRead    CheckWrite
delay            ok 1         ok 1         ok 1         ok 1         ok 1         ok 3         ok 1         ok 1         ok 1         ok 1         ok 1         ok 1         ok 1         ok 1         ok 1         ok 1
silence          ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 1   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3   ~timeout 3
answer cut once  ok 2         ok 2         ok 2         ok 2         ok 1         ~404 1       ~broken 1    ok 1         ok 2         ok 2         ok 2         ok 2         ok 2         404 2        ok 2         ok 2
answer cut       ~broken 3    ~broken 3    ~broken 6    ~broken 3    ok 1         ~404 1       ~broken 1    ok 1         ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~broken 3    404 2        ~broken 3    ~broken 3
request cut once ok 2         ok 2         ok 2         ok 2         ok 2         ~404 1       ~broken 1    ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2
request cut      ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~404 1       ~broken 1    ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~broken 3    ~broken 3
429 once         ok 2         ok 2         ok 2         ok 2         ok 2         ok 4         ~429 1       ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2
429              ~429 3       ~429 3       ~429 3       ~429 3       ~429 3       ~429 3       ~429 1       ~429 3       ~429 3       ~429 3       ~429 3       ~429 3       ~429 3       ~429 3       ~429 3       ~429 3
429 for an hour  ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1       ~429 1
500 once         ok 2         ok 2         ok 2         ok 2         ok 2         ok 4         ~500 1       ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2
500              ~500 3       ~500 3       ~500 3       ~500 3       ~500 3       ~500 3       ~500 1       ~500 3       ~500 3       ~500 3       ~500 3       ~500 3       ~500 3       ~500 3       ~500 3       ~500 3
502 once         ok 2         ok 2         ok 2         ok 2         ok 2         ok 4         ~502 1       ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2
502              ~502 3       ~502 3       ~502 3       ~502 3       ~502 3       ~502 3       ~502 1       ~502 3       ~502 3       ~502 3       ~502 3       ~502 3       ~502 3       ~502 3       ~502 3       ~502 3
403              403 1        403 1        403 1        403 1        403 1        403 1        403 1        403 1        ok 1         ok 1         403 1        403 1        403 1        403 1        403 1        403 1
wrong digest     bytes 1      bytes 1      bytes 1      ok 1         ok 1         ok 3         ok 1         ok 1         ok 1         ok 1         bytes 1      answer 1     answer 1     ok 1         bytes 1      ok 1
length too large ok 1         ~broken 3    ~broken 4    ok 1         ok 1         ok 3         ok 1         ok 1         ok 1         ok 1         ok 1         ~broken 3    ~broken 3    ok 1         ~broken 3    ok 1
length too small ok 1         bytes 1      bytes 1      ok 1         ok 1         ok 3         ok 1         ok 1         ok 1         ok 1         ok 1         ok 1         answer 1     ok 1         bytes 1      ok 1
endless body     ok 1         large 1      deadline     ok 1         ok 1         ok 3         ok 1         ok 1         ok 1         ok 1         ok 1         large 1      large 1      ok 1         large 1      ok 1
slow drip        ok 1         deadline     deadline     ok 1         ok 1         ok 3         ok 1         ok 1         ok 1         ok 1         ok 1         deadline     deadline     ok 1         deadline     ok 1
redirect         ok 1         bytes 1      bytes 1      ok 1         307 1        307 1        307 1        307 1        307 1        307 1        307 1        told 1       told 1       307 1        bytes 1      307 1
foreign realm    token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1      token 1
";

/// With tokens: the registry finds the one that comes with the request expired. Who streams hears of it (`~Expired`), as
/// the bytes are gone then.
const WITH_TOKENS: &str = r"
                 Head         Manifest     Blob         HasBlob      PushBlob     StartUpload  Stream       Finish       PushNew      Mount        PushManifest Tags         Referrers    Delete       CheckRead    CheckWrite
expires once     ok 2         ok 2         ok 2         ok 2         ok 2         ok 4         ~Expired 1   ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2         ok 2
always expired   401 2        401 2        401 2        401 2        401 2        401 2        ~Expired 1   401 2        ok 2         ok 2         401 2        401 2        401 2        401 2        401 2        401 2
";

/// A place where one fault befalls one operation.
struct Cell {
    fault: &'static str,
    times: Option<usize>,
    make: Arc<dyn Fn(&FaultProxy) -> Fault + Send + Sync>,
    operation: Operation,
}

fn strange() -> FaultProxy {
    let stranger = FaultProxy::stranger().expect("a port");
    // It would be glad to have a password, and lies about what it has.
    let answer = |body: &[u8]| Fault::Answer(Answer::new(200).with_body(body));
    stranger.inject(Rule::new(
        answer(br#"{"token": "strange-token", "tags": ["strange"], "manifests": ["strange"]}"#),
        |_| true,
    ));
    stranger
}

/// Lets a fault befall an operation and tells what came of it.
fn outcome(cell: &Cell, registry: &str, name: &str) -> String {
    let (proxy, stranger) = (FaultProxy::start(registry).expect("a port"), strange());
    let patient = HttpPolicy {
        idle_timeout: Duration::from_secs(20),
        ..policy()
    };
    let direct = client(patient.clone(), registry);
    let subject = Subject::new(name);
    subject
        .prepare(cell.operation, &direct, registry)
        .expect("the registry is prepared");
    let operation = cell.operation;
    let rule = Rule::new((cell.make)(&stranger), move |request| operation.is_asked_by(request));
    proxy.inject(match cell.times {
        Some(times) => rule.times(times),
        None => rule,
    });
    let tested = match cell.fault {
        "silence" => {
            let policy = HttpPolicy {
                idle_timeout: SILENCE,
                ..policy()
            };
            client(policy, &proxy.host())
        }
        "endless body" | "slow drip" => client(patient, &proxy.host()).with_time_limit(LIMIT),
        _ => client(patient, &proxy.host()),
    };
    // What the registry asks for is known by then, as it is in the middle of any work.
    let _ = tested.tags(&at(&proxy.host(), ELSEWHERE));
    let result = subject.run(cell.operation, &tested, &proxy.host());
    subject.check(cell.operation, result.is_ok(), &direct, registry);
    let what = format!("{} × {:?}", cell.fault, cell.operation);
    assert_no_secret_went_to(&stranger, &proxy, &what);
    if let Err(error) = &result {
        let text = format!("{error} {error:?}");
        assert!(!text.contains(PASSWORD), "{what}: {text}");
    }
    let asked = proxy.requests();
    let asked = asked
        .iter()
        .filter(|request| cell.operation.is_asked_by(request))
        .count();
    match result {
        Ok(told) => format!("{told} {asked}"),
        // How far it comes until then is for the machine to say.
        Err(error) if error.is_deadline() => show(&error),
        Err(error) => format!("{} {asked}", show(&error)),
    }
}

fn show(error: &RegistryError) -> String {
    let again = if error.is_retryable() { "~" } else { "" };
    again.to_owned()
        + &match error.reason() {
            Reason::Status { status, .. } => status.as_u16().to_string(),
            Reason::Http(error) => format!("{:?}", error.kind).to_lowercase(),
            Reason::Token(_) => "token".to_owned(),
            Reason::Answer(_) => "answer".to_owned(),
            Reason::WrongBytes { .. } => "bytes".to_owned(),
            Reason::TooLarge { .. } => "large".to_owned(),
            Reason::Location { .. } => "location".to_owned(),
            other => format!("{other:?}"),
        }
}

/// Fills all cells, some at a time: most of them wait.
fn fill(cells: &Arc<Vec<Cell>>, registry: &str, prefix: &str) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); cells.len()]));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    if at >= cells.len() {
                        return;
                    }
                    let text = patiently(cells, at, registry, &format!("{prefix}{at}"));
                    found.lock().unwrap_or_else(PoisonError::into_inner)[at] = text;
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn patiently(cells: &Arc<Vec<Cell>>, at: usize, registry: &str, name: &str) -> String {
    let (sender, answer) = mpsc::channel();
    let (cells, registry, name) = (Arc::clone(cells), registry.to_owned(), name.to_owned());
    let cell = format!("{} × {:?}", cells[at].fault, cells[at].operation);
    thread::spawn(move || sender.send(outcome(&cells[at], &registry, &name)));
    match answer.recv_timeout(PATIENCE) {
        Ok(text) => text,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{cell} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{cell} panicked"),
    }
}

fn table(rows: &[&str], cells: &[String]) -> String {
    let mut text = format!("{:17}", "");
    for operation in ALL {
        write!(text, "{:13}", format!("{operation:?}")).expect("a String takes every write");
    }
    for (row, cells) in rows.iter().zip(cells.chunks(ALL.len())) {
        write!(text, "\n{row:17}").expect("a String takes every write");
        for cell in cells {
            write!(text, "{cell:13}").expect("a String takes every write");
        }
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    format!("\n{}\n", lines.join("\n"))
}

#[test]
fn every_fault_of_a_registry_with_passwords_ends_every_operation_as_the_table_says() {
    let registry = Registry::with_basic_auth(USER, PASSWORD).expect("docker-registry starts");
    let cells = FAULTS.iter().flat_map(|(fault, times, make)| {
        ALL.iter().map(|operation| Cell {
            fault,
            times: *times,
            make: Arc::new(*make),
            operation: *operation,
        })
    });
    let found = fill(&Arc::new(cells.collect()), &registry.host(), "fault");
    let rows: Vec<_> = FAULTS.iter().map(|(fault, _, _)| *fault).collect();
    let found = table(&rows, &found);
    assert!(found == WITH_PASSWORD, "{found}");
}

#[test]
fn a_token_that_expires_in_the_middle_is_renewed_once_whatever_is_done() {
    let tokens = TokenServer::with_options(&TokenServerOptions {
        users: &[(USER, PASSWORD)],
        ..TokenServerOptions::default()
    });
    let tokens = tokens.expect("a token server");
    let registry = Registry::with_options(&RegistryOptions {
        token_server: Some(&tokens),
        ..RegistryOptions::default()
    });
    let registry = registry.expect("docker-registry starts");
    let expired = tokens
        .expired_token("repository:x:pull,push,delete")
        .expect("it is signed");
    let rows = [("expires once", Some(1)), ("always expired", None)];
    let cells = rows.iter().flat_map(|(fault, times)| {
        let expired = expired.clone();
        ALL.iter().map(move |operation| {
            let header = format!("Bearer {expired}");
            Cell {
                fault,
                times: *times,
                make: Arc::new(move |_| Fault::Authorization(header.clone())),
                operation: *operation,
            }
        })
    });
    let found = fill(&Arc::new(cells.collect()), &registry.host(), "token");
    let found = table(&rows.map(|(fault, _)| fault), &found);
    assert!(found == WITH_TOKENS, "{found}");
}
