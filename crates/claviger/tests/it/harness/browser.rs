//! Somebody's browser, as far as logging in at the OpenID provider of the tests takes one.

use std::collections::BTreeMap;
use std::io::Read;

use ureq::Agent;
use ureq::http::Response;

use super::oidc::agent;

/// A browser: it keeps cookies and follows redirects.
pub(crate) struct Browser {
    agent: Agent,
    cookies: BTreeMap<String, String>,
}

/// A page, and where it was found.
struct Page {
    address: String,
    text: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self { agent: agent(), cookies: BTreeMap::new() }
    }

    /// Opens the address of a device login (RFC 8628 section 3.3), confirms the code, logs in, and consents.
    pub(crate) fn log_in(&mut self, address: &str, who: &str) {
        let page = self.get(address);
        let page = self.submit(&page, &[]);
        let page = self.submit(&page, &[("confirm", "yes")]);
        let page = self.submit(&page, &[("prompt", "login"), ("login", who), ("password", "any")]);
        let page = self.submit(&page, &[("prompt", "consent")]);
        assert!(page.text.contains("Sign-in Success"), "{}", page.text);
    }

    /// Opens the address of a device login, and refuses it.
    pub(crate) fn refuse(&mut self, address: &str) {
        let page = self.get(address);
        let page = self.submit(&page, &[]);
        self.submit(&page, &[("abort", "yes")]);
    }

    fn get(&mut self, address: &str) -> Page {
        let response = self.agent.get(address).header("cookie", self.cookie()).call().unwrap();
        self.arrive(address.to_owned(), response)
    }

    /// Submits the form of a page with these fields besides its hidden ones.
    fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let action = attribute(&page.text, "<form", "action").unwrap_or_else(|| panic!("no form: {}", page.text));
        let mut form: BTreeMap<String, String> = BTreeMap::new();
        for input in page.text.split("<input").skip(1).filter(|input| input.contains("\"hidden\"")) {
            let name = attribute(input, "", "name");
            form.extend(name.map(|name| (name, attribute(input, "", "value").unwrap_or_default())));
        }
        form.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let address = absolute(&page.address, &action);
        let response = self.agent.post(&address).header("cookie", self.cookie()).send_form(form).unwrap();
        self.arrive(address, response)
    }

    fn arrive(&mut self, mut address: String, mut response: Response<ureq::Body>) -> Page {
        loop {
            for cookie in response.headers().get_all("set-cookie") {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            let Some(location) = response.headers().get("location") else { break };
            address = absolute(&address, location.to_str().unwrap());
            response = self.agent.get(&address).header("cookie", self.cookie()).call().unwrap();
        }
        let mut text = String::new();
        response.into_body().into_reader().read_to_string(&mut text).unwrap();
        Page { address, text }
    }

    fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// The value of an attribute of the first tag that begins so.
fn attribute(text: &str, tag: &str, name: &str) -> Option<String> {
    let tag = text.split_once(tag)?.1.split('>').next()?;
    Some(tag.split_once(&format!("{name}=\""))?.1.split('"').next()?.to_owned())
}

fn absolute(base: &str, address: &str) -> String {
    let origin: String = base.split('/').take(3).collect::<Vec<_>>().join("/");
    if address.starts_with('/') { format!("{origin}{address}") } else { address.to_owned() }
}
