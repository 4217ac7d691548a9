//! Answers that go wrong as planned.

use axum::response::Response;

use super::answer::Reply;
use crate::endpoint::Endpoint;
use crate::faults::{Answer, Faults, Outage, RUCIO};
use crate::listener::Scissors;

/// One request: the faults that lie in its way, and between them the work, if it comes to that.
pub async fn with_faults(
    faults: &Faults,
    endpoint: Endpoint,
    scissors: &Scissors,
    work: impl Future<Output = Reply>,
) -> Response {
    match faults.outage(RUCIO) {
        Some(Outage::Hang) => std::future::pending().await,
        Some(Outage::Unavailable) => return Reply::proxy_error(503).into_response(),
        Some(Outage::Refuse) => return cut(scissors).await,
        None => {}
    }
    let fault = faults.next_answer(endpoint);
    match fault {
        Some(Answer::Refuse { status, class, message }) => return Reply::error(status, class, message).into_response(),
        Some(Answer::Status(status)) => return Reply::proxy_error(status).into_response(),
        Some(Answer::Empty) => return Reply::lines([]).into_response(),
        Some(Answer::EmptyObject) => return Reply::json(&serde_json::json!({})).into_response(),
        Some(Answer::Garbage) => return Reply::garbage().into_response(),
        Some(Answer::HangUp) => return cut(scissors).await,
        Some(Answer::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Answer::Truncated | Answer::Fewer | Answer::Lost) | None => {}
    }
    let reply = work.await;
    match fault {
        Some(Answer::Truncated) => reply.truncated().into_response(),
        Some(Answer::Fewer) => reply.without_last_line().into_response(),
        Some(Answer::Lost) => cut(scissors).await,
        _ => reply.into_response(),
    }
}

/// No answer at all.
async fn cut(scissors: &Scissors) -> Response {
    scissors.cut();
    std::future::pending().await
}
