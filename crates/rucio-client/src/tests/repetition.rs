//! What is made again, and what never is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Method;

use super::*;
use crate::answer::{Gather, Gathered};
use crate::request::Request;
use crate::retry::Repeat;

async fn against(replies: Vec<Reply>, change: impl FnOnce(&mut Settings)) -> (MockServer, Client, Arc<Told>) {
    let server = MockServer::start(rucio(replies)).await;
    let mut settings = settings(&server.url);
    change(&mut settings);
    let (client, told) = client(settings);
    (server, client, told)
}

fn database_down() -> Reply {
    exception(500, "DatabaseException", "An unknown Database Exception has occurred.")
}

/// The status line of an answer whose rest never comes.
fn cut() -> Reply {
    Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"scope\"".into())
}

#[tokio::test]
async fn what_heals_within_the_budget_is_not_seen() {
    let (server, client, told) =
        against(vec![database_down(), database_down(), Reply::new(201, "Created")], |_| {}).await;
    client.attach(&one_file()).await.unwrap();
    assert_eq!(calls(&server).len(), 3);
    let requests = told.requests.lock().unwrap().clone();
    assert_eq!(requests, [("login", "ok"), ("attach", "transient"), ("attach", "transient"), ("attach", "ok")]);
}

#[tokio::test]
async fn the_budget_ends() {
    let (server, client, _) = against(vec![database_down(); 1000], |settings| {
        settings.retry.budget = Duration::from_secs(1);
    })
    .await;
    let error = client.did(&file("a.fits")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Transient, true));
    assert_eq!(error.class(), Some("DatabaseException"));
    assert!((2..=1001).contains(&calls(&server).len()));
}

#[tokio::test]
async fn a_denial_is_final() {
    let (server, client, _) =
        against(vec![exception(401, "AccessDenied", "Account plain can not add rules")], |_| {}).await;
    let error = client.attach(&one_file()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Forbidden, false));
    assert_eq!(calls(&server).len(), 1);
}

#[tokio::test]
async fn a_rule_that_may_have_been_placed_is_not_placed_again() {
    for reply in [Reply::Hang, cut(), Reply::Raw(String::new()), database_down()] {
        let what = format!("{reply:?}");
        let (server, client, _) = against(vec![reply], |settings| settings.timeout = Duration::from_millis(200)).await;
        let error = client.add_rules(&one_rule()).await.unwrap_err();
        assert!(error.is_transient(), "{what}: {error}");
        assert_eq!(calls(&server).len(), 1, "{what}");
    }
}

#[tokio::test]
async fn an_attachment_that_may_have_been_made_is_made_again() {
    for reply in [Reply::Hang, cut(), Reply::Raw(String::new())] {
        let what = format!("{reply:?}");
        let (server, client, _) = against(vec![reply, Reply::new(201, "Created")], |settings| {
            settings.timeout = Duration::from_millis(200);
        })
        .await;
        client.attach(&one_file()).await.expect(&what);
        assert_eq!(calls(&server).len(), 2, "{what}");
    }
}

#[tokio::test]
async fn even_a_rule_is_tried_again_when_nothing_was_sent() {
    let address = MockServer::start(rucio([])).await.stop().await;
    let settings = settings(&Url::parse(&format!("http://{address}")).unwrap());
    let mut impatient = settings.clone();
    impatient.retry.budget = Duration::ZERO;
    let error = client(impatient).0.add_rules(&one_rule()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Unreachable, true));

    // however long a try takes: it ends by the second one, not by a time
    let (client, told) = client(settings);
    let rule = one_rule();
    let tried_twice = async {
        while told.requests.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        end = client.add_rules(&rule) => panic!("ended after one try: {end:?}"),
        () = tried_twice => {}
    }
}

#[tokio::test]
async fn garbage_is_not_an_answer() {
    for (reply, kind) in [
        (Reply::new(200, "<html>maintenance</html>"), Kind::Protocol),
        (Reply::new(200, "{\"scope\": 5}"), Kind::Protocol),
        (cut(), Kind::Protocol),
        (Reply::Endless(" "), Kind::Protocol),
        (Reply::Raw("220 ftp.example.org ready\r\n".into()), Kind::Unreachable),
        (Reply::new(502, "<html>bad gateway</html>"), Kind::Unreachable),
        (Reply::new(500, "Internal Error"), Kind::Transient),
    ] {
        let what = format!("{reply:?}");
        let (_server, client, _) = against(vec![reply], |settings| settings.retry.budget = Duration::ZERO).await;
        let error = client.did(&file("a.fits")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (kind, true), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_success_without_rucios_own_word_for_it_is_no_success() {
    for words in ["<html>maintenance</html>", "{\"half\": [1, <html>", "[]"] {
        let (server, client, _) = against(vec![Reply::new(200, words), Reply::new(200, "")], |_| {}).await;
        client.end_rule("0123", || true).await.unwrap();
        assert_eq!(calls(&server).len(), 2, "asked again after {words}");
    }
}

#[tokio::test]
async fn a_rule_is_ended_only_while_the_reason_for_it_holds_before_each_attempt() {
    let (server, client, told) = against(vec![database_down(), database_down(), Reply::new(200, "")], |_| {}).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let error = client.end_rule("a1", move || counted.fetch_add(1, Ordering::Relaxed) < 2).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient(), error.is_not_sent()), (Kind::Withheld, true, true), "{error}");
    assert_eq!((calls(&server).len(), asked.load(Ordering::Relaxed)), (2, 3));
    assert_eq!(told.requests.lock().unwrap().last(), Some(&("end_rule", "withheld")));
    assert!(!client.circuit().is_open());
}

#[tokio::test]
async fn a_rule_is_not_ended_when_the_reason_for_it_grew_too_old_while_it_waited_for_its_turn() {
    let (server, client, _) = against(vec![Reply::Hang, Reply::new(200, "")], |settings| {
        settings.max_in_flight = 1;
        settings.timeout = Duration::from_millis(300);
        settings.retry.budget = Duration::ZERO;
    })
    .await;
    let holds = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&holds);
    let name = file("a.fits");
    let (slow, ended) = tokio::join!(client.did(&name), async {
        while calls(&server).is_empty() {
            tokio::task::yield_now().await;
        }
        let waiting = client.end_rule("a1", move || still.load(Ordering::Relaxed));
        holds.store(false, Ordering::Relaxed);
        waiting.await
    });
    assert_eq!(slow.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(ended.unwrap_err().kind(), Kind::Withheld);
    assert_eq!(calls(&server).len(), 1);
}

#[tokio::test]
async fn a_list_is_bounded_line_by_line() {
    let (_server, client, _) =
        against(vec![Reply::Endless("x")], |settings| settings.retry.budget = Duration::ZERO).await;
    let error = client.content(&file("d")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.to_string().contains("line 1 is longer than"), "{error}");
}

/// Of which only this is kept.
#[derive(Default)]
struct Count(usize);

impl Gather for Count {
    const MAX: u64 = 1000;
    type Line = u32;

    fn take(&mut self, _: u32) {
        self.0 += 1;
    }
}

#[tokio::test]
async fn a_list_that_is_not_kept_is_bounded_too() {
    let short = Reply::new(200, "12345678\n".repeat(100));
    let (_server, client, _) =
        against(vec![short, Reply::Endless("12345678\n")], |settings| settings.retry.budget = Duration::ZERO).await;
    let list = || client.call::<Gathered<Count>>(Repeat::Safe, Request::new("rules", "list", Method::GET, "/rules/"));
    assert_eq!(list().await.unwrap().0.0, 100);
    let error = list().await.err().unwrap();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.to_string().contains("longer than 1000 bytes"), "{error}");
}

#[tokio::test]
async fn a_proxys_404_does_not_prove_that_something_is_gone() {
    let (_server, client, _) =
        against(vec![Reply::new(404, "<html>no such page</html>")], |settings| settings.retry.budget = Duration::ZERO)
            .await;
    let error = client.rule("0123").await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Protocol, true));
}

#[tokio::test]
async fn at_most_so_many_exchanges_are_under_way() {
    let (server, client, _) = against(vec![Reply::Hang; 10], |settings| {
        settings.max_in_flight = 3;
        settings.timeout = Duration::from_millis(500);
        settings.retry.budget = Duration::ZERO;
    })
    .await;
    client.authenticate().await.unwrap();
    let did = file("a.fits");
    let all = futures_util::future::join_all((0..4).map(|_| client.did(&did)));
    // the fourth has to wait for one of the first three to time out
    assert!(tokio::time::timeout(Duration::from_millis(400), all).await.is_err());
    assert_eq!(calls(&server).len(), 3);
}

#[tokio::test]
async fn a_dropped_call_leaves_the_client_usable() {
    let (server, client, _) =
        against(vec![Reply::Hang, Reply::new(200, did_answer().to_string())], |settings| settings.max_in_flight = 1)
            .await;
    let did = file("a.fits");
    assert!(tokio::time::timeout(Duration::from_millis(100), client.did(&did)).await.is_err());
    client.did(&did).await.unwrap();
    assert_eq!(calls(&server).len(), 2);
}
