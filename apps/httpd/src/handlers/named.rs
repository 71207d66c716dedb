//! Handlers by the names that people give them: `NAME[:PATH][@TOPIC]`.

use super::{Echo, Events, Handler, Health, Info, Publish, Rights, Socket};
use crate::broadcast::TOPICS_MAX;
use crate::server::Route;

/// All names, as messages list them.
const NAMES: &str = "healthz, info, echo, events, publish, ws, ws-echo";

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Health,
    Info,
    Echo,
    SocketEcho,
    Events(u8),
    Publish(u8),
    Socket(u8),
}

/// Handlers that every core makes anew.
#[derive(Clone, Debug, Default)]
pub struct Named {
    routes: Vec<(String, Kind)>,
    topics: Vec<String>,
    rights: Rights,
}

impl Named {
    /// Reads `NAME[:PATH][@TOPIC]` each. Without a path it is the name's; events, publish and ws have a topic, the nameless
    /// one unless it is said.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        let mut named = Self::default();
        for text in texts.iter().map(AsRef::as_ref).filter(|text| !text.is_empty()) {
            let (left, topic) =
                text.split_once('@').map_or((text, None), |(left, topic)| (left, Some(topic)));
            let (name, path) = left.split_once(':').map_or((left, None), |(name, path)| (name, Some(path)));
            let path = path.map_or_else(|| format!("/{name}"), str::to_owned);
            if !path.starts_with('/') {
                return Err(format!("{text}: a path begins with a slash"));
            }
            if named.routes.iter().any(|(other, _)| *other == path) {
                return Err(format!("{text}: {path} is taken"));
            }
            let kind = match name {
                "healthz" => Kind::Health,
                "info" => Kind::Info,
                "echo" => Kind::Echo,
                "ws-echo" => Kind::SocketEcho,
                "events" => Kind::Events(named.topic(topic.unwrap_or_default())?),
                "publish" => Kind::Publish(named.topic(topic.unwrap_or_default())?),
                "ws" => Kind::Socket(named.topic(topic.unwrap_or_default())?),
                _ => return Err(format!("there is no handler {name}: {NAMES}")),
            };
            if topic.is_some() && !matches!(kind, Kind::Events(_) | Kind::Publish(_) | Kind::Socket(_)) {
                return Err(format!("{text}: {name} has no topic"));
            }
            named.routes.push((path, kind));
        }
        Ok(named)
    }

    /// The same, with these rights to publish.
    #[must_use]
    pub fn rights(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }

    /// The number of a topic.
    fn topic(&mut self, name: &str) -> Result<u8, String> {
        if let Some(place) = self.topics.iter().position(|other| other == name) {
            return Ok(place as u8);
        }
        if self.topics.len() == TOPICS_MAX {
            return Err(format!("@{name}: there are {TOPICS_MAX} topics at most"));
        }
        self.topics.push(name.to_owned());
        Ok(self.topics.len() as u8 - 1)
    }

    /// How many topics there are.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// One core's handlers.
    pub fn routes(&self) -> Vec<Route> {
        self.routes
            .iter()
            .map(|(path, kind)| Route { path: path.clone(), handler: self.handler(*kind) })
            .collect()
    }

    fn handler(&self, kind: Kind) -> Box<dyn Handler> {
        match kind {
            Kind::Health => Box::new(Health),
            Kind::Info => Box::new(Info),
            Kind::Echo => Box::new(Echo),
            Kind::SocketEcho => Box::new(Socket(None)),
            Kind::Events(topic) => Box::new(Events(topic)),
            Kind::Publish(topic) => Box::new(Publish::new(topic).only(self.rights.clone())),
            Kind::Socket(topic) => Box::new(Socket(Some(topic))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_paths_and_topics_are_read_or_refused() {
        let named = Named::parse(&[
            "healthz",
            "events:/a@news",
            "publish:/b@news",
            "ws@chat",
            "publish",
            "ws-echo:/x",
        ])
        .unwrap();
        let expected = [
            ("/healthz", Kind::Health),
            ("/a", Kind::Events(0)),
            ("/b", Kind::Publish(0)),
            ("/ws", Kind::Socket(1)),
            ("/publish", Kind::Publish(2)),
            ("/x", Kind::SocketEcho),
        ];
        let found: Vec<_> = named.routes.iter().map(|(path, kind)| (path.as_str(), *kind)).collect();
        assert_eq!((found.as_slice(), named.topics(), named.routes().len()), (&expected[..], 3, 6));
        for bad in [&["other"][..], &["echo:x"], &["echo@a"], &["echo", "info:/echo"]] {
            assert!(Named::parse(bad).is_err(), "{bad:?}");
        }
        let many: Vec<_> = (0..=TOPICS_MAX).map(|number| format!("ws:/{number}@{number}")).collect();
        assert!(Named::parse(&many[1..]).is_ok() && Named::parse(&many).is_err());
    }
}
