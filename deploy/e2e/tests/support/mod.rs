//! Telling a story: set the stage, break something, connect for real, ask, and hold the answer against what it must be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::stage::{Ears, can_run, key};
use e2e::{Answer, Manifests, Stage, normalise, program};
use model::walk::Backend;
use netlab::ConnectOutcome;
use netlab::ForwardPolicy;

/// A faulty cluster about to be asked about; `None` inside where stories cannot run.
pub struct Story {
    name: &'static str,
    files: &'static [&'static str],
    ears: BTreeMap<model::Key, Ears>,
    stage: Option<Stage>,
    skipped: bool,
}

/// What was said.
pub struct Said {
    name: &'static str,
    answer: Option<Answer>,
}

impl Story {
    /// A story with the manifests of these files.
    pub fn new(name: &'static str, files: &'static [&'static str]) -> Self {
        Self { name, files, ears: BTreeMap::new(), stage: None, skipped: !can_run(name) }
    }

    /// Nothing listens in this pod.
    pub fn deaf(mut self, pod: &str) -> Self {
        self.ears.insert(key(pod).unwrap(), Ears::Deaf);
        self
    }

    /// These sockets listen in this pod, and no others.
    pub fn ears(mut self, pod: &str, addresses: &[SocketAddr]) -> Self {
        self.ears.insert(key(pod).unwrap(), Ears::On(addresses.to_vec()));
        self
    }

    /// kube-proxy of this node missed a Service.
    pub fn without_rules_of(self, node: &str, service: &str) -> Self {
        self.on_stage(|stage| {
            let lab = stage.lab();
            program::kube_proxy()
                .unwrap()
                .load_without(lab.node(node).unwrap(), stage.objects(), &key(service).unwrap())
                .unwrap();
        })
    }

    /// Somebody set this node's FORWARD policy to DROP.
    pub fn forward_policy_drop(self, node: &str) -> Self {
        self.on_stage(|stage| {
            let node = stage.lab().node(node).unwrap();
            node.set_forward_policy(Backend::IptablesNft, ForwardPolicy::Drop).unwrap();
        })
    }

    /// The agent of this node dies.
    pub fn crash_agent(self, node: &str) -> Self {
        self.on_stage(|stage| stage.crash_agent(node).unwrap())
    }

    /// A connection from web/client ends like this.
    pub fn connects(self, to: &str, expected: ConnectOutcome) -> Self {
        self.on_stage(|stage| {
            let result = stage.connect("web/client", to).unwrap();
            assert_eq!(result.outcome, expected, "the fault is not what the story says: {result:?}");
        })
    }

    /// Connects from web/client until the kernel was seen to drop a SYN to each of these addresses.
    pub fn connects_until_dropped(self, to: &str, dropped: &[&str]) -> Self {
        self.on_stage(|stage| {
            let begun = Instant::now();
            loop {
                stage.connect("web/client", to).unwrap();
                let seen = stage.run(&["drops", "-o", "json"]).unwrap().stdout;
                if dropped.iter().all(|address| seen.contains(address)) {
                    return;
                }
                assert!(begun.elapsed() < Duration::from_secs(20), "not all of {dropped:?} in {seen}");
            }
        })
    }

    /// Asks; the text and the JSON answer are held against their snapshots.
    pub fn ask(self, source: &str, destination: &str) -> Said {
        let name = self.name;
        let mut answer = None;
        drop(self.on_stage(|stage| {
            let text = stage.ask_text(source, destination).unwrap();
            let said = stage.ask(source, destination).unwrap();
            assert_eq!(text.code, said.printed.code, "text and JSON disagree about the exit code");
            assert_ne!(said.json, serde_json::Value::Null, "no answer: {}\n{}", said.printed.stderr, stage.logs());
            insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(format!("{name}.text"), normalise::text(&text.stdout));
                insta::assert_json_snapshot!(format!("{name}.json"), normalise::json(said.json.clone()));
            });
            answer = Some(said);
        }));
        Said { name, answer }
    }

    /// Does something on the stage, which is set first if it is not yet.
    pub fn on_stage(mut self, act: impl FnOnce(&mut Stage)) -> Self {
        if self.skipped {
            return self;
        }
        if self.stage.is_none() {
            let manifests = Manifests::read(self.files).unwrap();
            self.stage = Some(Stage::up_with(self.name, manifests, self.ears.clone(), None).unwrap());
        }
        if let Some(stage) = &mut self.stage {
            act(stage);
        }
        self
    }
}

impl Said {
    /// Verdict, certainty and exit code.
    pub fn verdict(self, verdict: &str, certainty: &str, exit: i32) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.field("verdict"), verdict, "{}: {}", self.name, answer.printed.stdout);
            assert_eq!(answer.field("certainty"), certainty, "{}: {}", self.name, answer.printed.stdout);
        }
        self.exit(exit)
    }

    /// The exit code alone.
    pub fn exit(self, exit: i32) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.printed.code, Some(exit), "{}: {}", self.name, answer.printed.stdout);
        }
        self
    }

    /// The first finding's id.
    pub fn first(self, id: &str) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.first_id(), id, "{}: {}", self.name, answer.printed.stdout);
        }
        self
    }

    /// An id that appears among the findings or in what was ruled out.
    pub fn mentions(self, id: &str) -> Self {
        if let Some(answer) = &self.answer {
            let both = ["findings", "ruledOut"]
                .map(|name| answer.json[name].as_array().cloned().unwrap_or_default());
            assert!(
                both.iter().flatten().any(|entry| entry["id"] == id),
                "{}: {}",
                self.name,
                answer.printed.stdout
            );
        }
        self
    }

    /// No finding that touches the connection.
    pub fn no_findings(self) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.json["findings"], serde_json::json!([]), "{}", self.name);
        }
        self
    }
}

/// An address and port.
pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
