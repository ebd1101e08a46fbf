//! Networks where only a proxy has a way out.

use std::net::SocketAddr;

use rovercast::relay::client::{KeySource, LinkFailure, LinkSettings, Proxy};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{
    Authority, Directory, NOW, Robot, assert_keyless, end_of, open_relay, read_head, relay,
    settings, tls_relay,
};

/// A proxy that leads every caller to `target`, and tells what it was asked.
async fn proxy_to(target: SocketAddr) -> (SocketAddr, mpsc::Receiver<String>) {
    let (sender, heads) = mpsc::channel(8);
    let proxy = relay(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(read_head(&mut stream).await).await.unwrap();
            let mut onward = TcpStream::connect(target).await.unwrap();
            let yes = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n";
            stream.write_all(yes).await.unwrap();
            // Either side may end it.
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        }
    })
    .await;
    (proxy, heads)
}

fn through(proxy: SocketAddr, settings: LinkSettings) -> LinkSettings {
    LinkSettings {
        proxy: Some(Proxy {
            url: format!("http://{proxy}").parse().unwrap(),
            login: None,
        }),
        ..settings
    }
}

#[tokio::test]
async fn relay_behind_a_proxy_is_reached_by_name_and_its_certificate_counts() {
    let authority = Authority::new();
    let relay = tls_relay(authority.sign("relay.test", NOW).config).await;
    let (proxy, mut heads) = proxy_to(relay).await;
    let directory = Directory::new();
    let settings = LinkSettings {
        ca_file: Some(directory.write("ca.pem", &authority.pem)),
        // Nobody but the proxy can resolve this name.
        ..settings("wss://relay.test/webrtc-relay")
    };

    let mut robot = Robot::opened(through(proxy, settings.clone())).await;
    robot.message().await;
    let head = heads.recv().await.unwrap();
    assert_eq!(
        head,
        "CONNECT relay.test:443 HTTP/1.1\r\nHost: relay.test:443\r\n\r\n"
    );
    assert_keyless(&head);

    let wrong = through(
        proxy,
        LinkSettings {
            url: "wss://other.test/".parse().unwrap(),
            ..settings
        },
    );
    assert_eq!(end_of(wrong).await.class, LinkFailure::Tls);
}

#[tokio::test]
async fn proxy_gets_its_login_from_a_file_and_the_relay_never_does() {
    let (sender, mut asked) = mpsc::channel(8);
    let relay = open_relay(move |socket| {
        let sender = sender.clone();
        async move {
            sender.send(()).await.unwrap();
            drop(socket);
        }
    })
    .await;
    let (proxy, mut heads) = proxy_to(relay).await;
    let directory = Directory::new();
    let mut settings = through(proxy, settings("ws://192.0.2.1:8080/"));
    if let Some(proxy) = &mut settings.proxy {
        proxy.login = Some(KeySource::File(
            directory.write("login", "robots:swordfish&7\n"),
        ));
    }

    end_of(settings).await;

    asked.recv().await.unwrap();
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("CONNECT 192.0.2.1:8080 "), "{head}");
    // RFC 7617: what `printf robots:swordfish\&7 | base64` says.
    let login = "Proxy-Authorization: Basic cm9ib3RzOnN3b3JkZmlzaCY3\r\n";
    assert!(head.contains(login), "{head}");
}

#[tokio::test]
async fn proxy_that_refuses_says_what_is_missing() {
    for (answer, words) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            "answered HTTP status 407: it wants a login (see proxy_login_file)",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "answered HTTP status 403: it does not let us through",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "answered HTTP status 502: it cannot reach the relay",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP"),
    ] {
        let proxy = super::http_relay(answer).await;
        let end = end_of(through(proxy, settings("wss://relay.test/"))).await;
        assert_eq!(end.class, LinkFailure::Proxy, "{end:?}");
        assert_eq!(
            end.message,
            format!("proxy {proxy} to wss://relay.test/ {words}")
        );
    }
}

#[tokio::test]
async fn proxy_that_is_not_there_is_named() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = closed.local_addr().unwrap();
    drop(closed);
    let end = end_of(through(proxy, settings("wss://relay.test/"))).await;
    assert_eq!(end.class, LinkFailure::Refused);
    let start = format!("cannot reach proxy {proxy} to wss://relay.test/: ");
    assert!(end.message.starts_with(&start), "{end:?}");
}
