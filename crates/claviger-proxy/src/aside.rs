//! Asking upstreams what reviewers want to know.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use claviger_protocols::Question;
use claviger_session::{Answered, Answers, Asides, Connection, Gateway, Inquiry, Turn, Unanswered};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::Upstreams;
use crate::ask::{Asking, login_of};

/// Settings of such a session: names are the server's own, and nothing is compiled that is asked once.
const SETTINGS: &str =
    "select pg_catalog.set_config('search_path', 'pg_catalog', false), pg_catalog.set_config('jit', 'off', false)";

/// Where those wait who look into one connection's upstream behind each other; the session goes from one to the next.
#[derive(Default)]
struct Seat {
    turn: tokio::sync::Mutex<()>,
    asking: tokio::sync::Mutex<Option<Asking>>,
    /// Whether who has the turn has asked anything: what is over by its turn does not, and then nobody need rest.
    has_asked: AtomicBool,
}

/// Asks upstreams beside the sessions of clients.
pub struct AskedAside {
    runtime: Handle,
    upstreams: Arc<Upstreams>,
    gateway: OnceLock<Weak<Gateway>>,
    seats: Mutex<Vec<(Arc<Connection>, Arc<Seat>)>>,
}

impl AskedAside {
    /// Asks by tasks of the runtime that this is called in, and nothing before [`serve`](Self::serve).
    pub fn new(upstreams: Arc<Upstreams>) -> Self {
        Self { runtime: Handle::current(), upstreams, gateway: OnceLock::new(), seats: Mutex::default() }
    }

    /// The gateway that asks.
    pub fn serve(&self, gateway: &Arc<Gateway>) {
        _ = self.gateway.set(Arc::downgrade(gateway));
    }

    fn seat(&self, connection: &Arc<Connection>) -> Arc<Seat> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seat)) = seats.iter().find(|(known, _)| *known == *connection) {
            return Arc::clone(seat);
        }
        let seat = Arc::<Seat>::default();
        seats.push((Arc::clone(connection), Arc::clone(&seat)));
        seat
    }

    /// Leaves a seat. Whether nobody else wants it: then it is gone.
    fn leave(&self, seat: &Arc<Seat>) -> bool {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let is_last = Arc::strong_count(seat) <= 2;
        if is_last {
            seats.retain(|(_, known)| !Arc::ptr_eq(known, seat));
        }
        is_last
    }

    async fn open(&self, connection: &Connection) -> Result<Asking, Unanswered> {
        let unavailable = |why: &str| Unanswered::Unavailable(why.into());
        let gateway = self.gateway.get().and_then(Weak::upgrade).ok_or_else(|| unavailable("the gateway is stopping"))?;
        let opened = Asking::open(&self.upstreams, connection, login_of(&gateway, connection)).await;
        let mut asking = opened.map_err(|refusal| unavailable(&refusal.message))?;
        put(&mut asking, SETTINGS.into()).await?;
        Ok(asking)
    }

    /// Asks on this session, or on a new one; leaves it if it is good for more.
    async fn ask_on(
        &self,
        asking: &mut Option<Asking>,
        connection: &Connection,
        inquiries: Vec<Inquiry>,
        within: Duration,
    ) -> Answered {
        let mut answers = Vec::new();
        let asked = timeout(within, async {
            let mut session = match asking.take() {
                Some(session) => session,
                None => self.open(connection).await?,
            };
            for Inquiry { question, expects } in inquiries {
                let rows = put(&mut session, question).await?;
                let first = rows.first().and_then(|row| row.first()).and_then(Option::as_ref);
                let is_expected = expects.is_none() || first == expects.as_ref();
                answers.push(rows);
                if !is_expected {
                    return Err(Unanswered::Unexpected);
                }
            }
            *asking = Some(session);
            Ok(())
        });
        let asked = asked.await.unwrap_or_else(|_| Err(Unanswered::Unavailable("the upstream took too long".into())));
        (answers, asked)
    }
}

impl Asides for AskedAside {
    fn ask(self: Arc<Self>, connection: Arc<Connection>, inquiries: Vec<Inquiry>, turn: Turn, within: Duration) -> Answers {
        Box::pin(async move {
            if turn == Turn::Ahead {
                let _turn = self.upstreams.questions.acquire().await;
                let mut asking = None;
                let answered = self.ask_on(&mut asking, &connection, inquiries, within).await;
                close(asking).await;
                return answered;
            }
            let seat = self.seat(&connection);
            seat.has_asked.store(true, Ordering::Relaxed);
            let mut asking = seat.asking.lock().await;
            self.ask_on(&mut asking, &connection, inquiries, within).await
        })
    }

    fn spawn(self: Arc<Self>, connection: &Arc<Connection>, look: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let seat = self.seat(connection);
        self.runtime.clone().spawn(async move {
            let turn = seat.turn.lock().await;
            look.await;
            if seat.has_asked.swap(false, Ordering::Relaxed) {
                sleep(REST).await;
            }
            drop(turn);
            if self.leave(&seat) {
                close(seat.asking.lock().await.take()).await;
            }
        });
    }
}

async fn put(asking: &mut Asking, question: Question) -> Result<Vec<Vec<Option<bytes::Bytes>>>, Unanswered> {
    let put = asking.put(question).await.map_err(|refusal| Unanswered::Unavailable(refusal.message.into()))?;
    put.map_err(Unanswered::Refused)
}

async fn close(asking: Option<Asking>) {
    if let Some(asking) = asking {
        // However it ends, the socket is closed.
        _ = timeout(CLOSE, asking.close()).await;
    }
}

/// How long nobody looks between two looks: a thousand at once are work for the upstream that its other sessions should not feel.
const REST: Duration = Duration::from_millis(20);

/// How long a farewell may take.
const CLOSE: Duration = Duration::from_secs(1);
