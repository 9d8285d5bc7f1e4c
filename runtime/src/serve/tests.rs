use super::*;
use crate::{Clock as _, SystemClock};
use axum::routing::get;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

fn listen(address: &str) -> Listen<'static> {
    Listen { address: address.parse().unwrap(), tls_cert: None, tls_key: None, insecure: false }
}

async fn refusal(listen: Listen<'_>) -> String {
    Server::bind(listen).await.unwrap_err().to_string()
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn other_machines_are_served_in_plain_text_only_when_asked_for() {
    assert!(refusal(listen("0.0.0.0:0")).await.contains("--insecure"));
    let server = Server::bind(Listen { insecure: true, ..listen("0.0.0.0:0") }).await.unwrap();
    assert_ne!(server.address().port(), 0);
    let half = Listen { tls_cert: Some(Path::new("cert.pem")), ..listen("127.0.0.1:0") };
    assert_eq!(refusal(half).await, "--tls-cert and --tls-key go together");
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_told_with_the_remedy() {
    let first = Server::bind(listen("127.0.0.1:0")).await.unwrap();
    let address = first.address();
    assert_eq!(
        refusal(listen(&address.to_string())).await,
        format!("cannot listen on {address}: the port is in use, choose another one or port 0")
    );
}

#[tokio::test]
async fn what_was_accepted_is_answered_and_what_says_nothing_holds_up_no_stop() {
    let (entered, mut requests) = mpsc::channel(1);
    let slow = async move || {
        entered.send(()).await.unwrap();
        tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.unwrap_err();
        "done"
    };
    let server = Server::bind(listen("127.0.0.1:0")).await.unwrap();
    let address = server.address();
    let shutdown = Shutdown::new();
    let mut serving = JoinSet::new();
    serving.spawn(server.run(Router::new().route("/", get(slow)), shutdown.clone()));

    let silent = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    requests.recv().await.unwrap();
    let clock = SystemClock::new();
    shutdown.request();
    assert!(answer(busy).await.ends_with("\r\n\r\ndone"));
    serving.join_next().await.unwrap().unwrap();
    assert!(clock.elapsed() < GRACE / 2, "the silent one was not waited for");
    assert_eq!(answer(silent).await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_server_out_of_descriptors_does_not_spin_without_connections() {
    let clock = SystemClock::new();
    pause(&mut JoinSet::new()).await;
    assert!(clock.elapsed() >= ACCEPT_PAUSE);
    let mut connections = JoinSet::new();
    connections.spawn(async {});
    pause(&mut connections).await;
    assert!(connections.is_empty());
}
