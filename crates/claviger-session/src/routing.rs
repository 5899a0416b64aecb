//! Which connection a client means.

use std::sync::Arc;

use claviger_model::{ConnectionName, Refusal, RefusalKind};
use claviger_protocols::Login;

use crate::{Connection, Connections};

/// What a listener leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// One connection: only host and port change for the client.
    Connection(ConnectionName),
    /// Any connection of this protocol: the client names it as its database, or as `user@connection`.
    Shared(&'static str),
}

impl Route {
    /// The connection that a client of this listener means.
    pub(crate) fn select(&self, login: &Login, connections: &Connections) -> Result<Arc<Connection>, Refusal> {
        let unknown = || Refusal::new(RefusalKind::UnknownConnection, "there is no such connection on this listener");
        match self {
            Self::Connection(name) => connections.get(name).ok_or_else(unknown),
            Self::Shared(kind) => {
                let find = |name: &str| {
                    let name = name.parse::<ConnectionName>().ok()?;
                    connections.get(&name).filter(|connection| connection.kind == *kind)
                };
                let by_user = login.user.as_deref().and_then(|user| user.rsplit_once('@')).and_then(|(_, name)| find(name));
                let by_database = login.database.as_deref().and_then(find);
                match (by_user, by_database) {
                    (Some(user), Some(database)) if user.name != database.name => Err(Refusal::new(
                        RefusalKind::UnknownConnection,
                        "the user name and the database name select different connections",
                    )),
                    (Some(found), _) | (None, Some(found)) => Ok(found),
                    (None, None) => Err(unknown()),
                }
            }
        }
    }
}
