//! Taking up a changed configuration while sessions run.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use claviger_audit::{Batch, Ledger};
use claviger_policy::PolicySet;

use super::masks::masks;
use super::{Running, boot_leaf, rules, server_tls};
use crate::config::{Config, KeySource, LOCAL_ISSUER};

impl Running {
    /// Reads the directory again and takes up all of it or, if anything is wrong with it, nothing.
    pub(super) async fn reload(&mut self) {
        self.notify.reloading();
        let result = self.try_reload().await;
        match &result {
            Ok(()) => tracing::info!(config = self.config.hash, "the changed configuration is in force"),
            Err(error) => tracing::error!(error = format!("{error:#}"), "the changed configuration is not taken up"),
        }
        self.condition.reloaded(result.is_ok());
        self.notify.ready(if result.is_ok() { "serving" } else { "serving; the changed configuration is not taken up" });
    }

    async fn try_reload(&mut self) -> Result<()> {
        let config = Arc::new(Config::load(&self.config.dir)?);
        let policy = PolicySet::load(&config.policies, LOCAL_ISSUER)?;
        config.check_endpoints(&policy)?;
        stays(&self.config, &config)?;
        let masks = masks(&config, &self.store).await?;
        let tls = server_tls(&config, &[], false)?;
        let listeners = self.listeners.prepare(&config).await?;
        let web = self.web.prepare(&config).await?;
        // A configuration that cannot be recorded is not taken up. From here on nothing can fail.
        self.log.append(Batch::of(boot_leaf(&config, &policy, true))).context("the change cannot be recorded")?;

        let before = std::mem::replace(&mut self.config, Arc::clone(&config));
        self.admin.set_config(Arc::clone(&config));
        let authenticator = self.gateway.authenticator();
        authenticator.set_issuers(config.trusted(), |name| source(&before, name) == source(&config, name));
        authenticator.set_authorities(config.authorities.clone());
        if let Err(error) = self.admin.publish_keys(authenticator) {
            tracing::error!(
                error = format!("{error:#}"),
                "the local issuer's keys cannot be read: changed ones are not taken up"
            );
        }
        self.issuers.replace(&config);
        self.deliveries.replace(&config);
        self.gateway.replace(rules(&config, policy, masks));
        self.upstreams.reload();
        self.places.set_limits(config.limits.arrivals);
        self.tls.store(tls);
        self.listeners.apply(listeners);
        self.web.apply(web);

        // Those of issuers that are gone, or that another has taken the name of, among them.
        self.gateway.end_revoked();
        Ok(())
    }
}

/// Where an external issuer is asked for keys and groups, and whom it must prove to be.
fn source<'a>(config: &'a Config, issuer: &str) -> Option<(&'a KeySource, Option<&'a Path>, Option<&'a str>)> {
    let issuer = config.issuers.iter().find(|configured| *configured.trust.name == *issuer)?;
    Some((&issuer.keys, issuer.tls_ca.as_deref(), issuer.userinfo_url.as_deref()))
}

/// What cannot change while the gateway runs must not seem to.
fn stays(before: &Config, after: &Config) -> Result<()> {
    ensure!(before.data == after.data, "`data` changes with a restart only");
    ensure!(before.audit == after.audit, "`[audit]` changes with a restart only");
    ensure!(before.threads == after.threads, "`threads` changes with a restart only");
    ensure!(before.log == after.log, "`[log]` changes with a restart only");
    Ok(())
}
