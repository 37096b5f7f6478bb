//! The provider `kubernetes`: services as objects in a namespace, written by server-side apply.
//!
//! Everything that a deployment consists of is a [`release::Release`], stored in the namespace. A [`head::Head`] says which
//! one is in place, and who works on it. Deploying applies a release and waits; rolling back applies the recorded one,
//! waits, and deletes what only later releases hold. Every step says how objects shall be and can be repeated.

mod addresses;
mod adopt;
mod apply;
mod canary;
mod cluster;
mod colours;
mod definition;
mod document;
mod fields;
mod head;
mod hold;
mod identity;
mod job;
mod kubeconfig;
mod lease;
mod manifest;
mod naming;
mod node_ports;
mod object;
mod permissions;
mod pin;
mod places;
mod pods;
mod preflight;
mod preview;
mod problem;
mod release;
mod replicas;
mod rollback;
mod rollout;
mod seal;
mod steps;
mod taken;
mod target;
mod template;
mod traffic;
mod validity;
mod versioned;
mod wait;
mod watch;
mod workloads;

use crate::driver::{Attempt, Cancel, Change, Context, Driver, Identity, Other, Probe, Wish, Work};
use cluster::Cluster;
use lease::Leases;
use lockstep_plan::{Call, CallService, CallTarget, Failure, Outcome, Plan, Value, Verdict};
use permissions::Needed;
use problem::wrong;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use target::Target;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The provider `kubernetes`.
#[derive(Clone, Default)]
pub struct Kubernetes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Instead of `KUBECONFIG` and the like.
    kubeconfig: Option<PathBuf>,
    /// By context.
    clusters: Mutex<BTreeMap<String, Arc<Cluster>>>,
    leases: Arc<Leases>,
    needed: Arc<Needed>,
    wanted: preflight::Wanted,
}

/// How long before a step's end the driver gives up by itself, so that it can still say why.
const RESERVE: Duration = Duration::from_secs(2);

/// How long a step that is to end may take to let go of its instance.
const LETTING_GO: Duration = Duration::from_secs(20);

/// How long looking at a target, or tidying it up, may take.
const LOOKING: Duration = Duration::from_secs(120);

impl Kubernetes {
    /// A driver that reads that kubeconfig, whatever the environment says.
    pub fn with_kubeconfig(path: PathBuf) -> Kubernetes {
        Kubernetes(Arc::new(Shared { kubeconfig: Some(path), ..Shared::default() }))
    }

    async fn cluster(&self, context: &str) -> Result<Arc<Cluster>, Failure> {
        let mut clusters = self.0.clusters.lock().await;
        if let Some(cluster) = clusters.get(context) {
            return Ok(cluster.clone());
        }
        let connected = Cluster::connect(self.0.kubeconfig.as_deref(), context).await;
        let shown =
            if context.is_empty() { "the current context".into() } else { format!("context `{context}`") };
        let cluster = Arc::new(connected.map_err(|problem| problem.failure("use the kubeconfig", &shown))?);
        clusters.insert(context.to_string(), cluster.clone());
        Ok(cluster)
    }

    /// The call's target, for the work of a run's life.
    async fn target(
        &self,
        call: &Call,
        (run, life): (&str, u64),
        cancel: Cancel,
        limit: Duration,
    ) -> Result<Target, Failure> {
        let (target, service) = parties(call)?;
        let setting = |name: &str| target.settings.get(name).and_then(Value::as_text).unwrap_or_default();
        Ok(Target {
            cluster: self.cluster(setting("context")).await?,
            namespace: setting("namespace").to_string(),
            instance: Target::instance(target, service),
            cluster_kinds: manifest::patterns(target.settings.get("cluster_kinds"))
                .into_iter()
                .map(str::to_string)
                .collect(),
            run: run.to_string(),
            life,
            output: None,
            cancel,
            deadline: Instant::now() + limit,
            leases: self.0.leases.clone(),
            needed: self.0.needed.clone(),
        })
    }

    async fn carry_out(&self, attempt: &Attempt) -> Result<BTreeMap<String, Value>, Failure> {
        let passed = Duration::from_millis(crate::id::now().saturating_sub(attempt.commanded_at));
        let rest = attempt.timeout.saturating_sub(passed);
        let limit = rest.saturating_sub(RESERVE.min(rest / 10));
        let run = (attempt.context.run.as_str(), attempt.context.epoch);
        let target = self.target(&attempt.call, run, attempt.cancel.clone(), limit).await?;
        steps::carry_out(Target { output: Some(attempt.output.clone()), ..target }, attempt).await
    }
}

/// What is deployed, and where.
fn parties(call: &Call) -> Result<(&CallTarget, &CallService), Failure> {
    let target = call.target.as_ref().ok_or_else(|| wrong("the step has no infrastructure"))?;
    let service = call.service.as_ref().ok_or_else(|| wrong("the step has no service"))?;
    Ok((target, service))
}

impl Driver for Kubernetes {
    fn steps(&self) -> &[&str] {
        &steps::NAMES
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        let driver = self.clone();
        Box::pin(async move {
            match driver.carry_out(&attempt).await {
                Ok(outputs) => Outcome::Succeeded { outputs },
                Err(failure) => Outcome::Failed(failure),
            }
        })
    }

    fn probe(&self, _: Attempt) -> Work<Probe> {
        // Work of the process that is gone; what it did is found when it is repeated.
        Box::pin(async { Probe::Unknown })
    }

    fn repeatable(&self, _: &str) -> bool {
        true
    }

    fn complete(&self, plan: &mut Plan, module: &Path) {
        pin::pin(plan, module);
    }

    fn preview(&self, calls: Vec<Call>, module: PathBuf) -> Option<Work<Result<Vec<Change>, Failure>>> {
        let driver = self.clone();
        Some(Box::pin(async move {
            let Some(call) = calls.first() else { return Ok(Vec::new()) };
            let target = driver.target(call, ("preview", 0), Cancel::never(), LOOKING).await?;
            preview::changes(&target, &calls, &module).await
        }))
    }

    fn check(&self, calls: Vec<Call>, module: PathBuf) -> Work<Result<(), Failure>> {
        let driver = self.clone();
        Box::pin(async move {
            let Some(call) = calls.first() else { return Ok(()) };
            let target = driver.target(call, ("check", 0), Cancel::never(), LOOKING).await?;
            preflight::check(&target, &calls, &module, &driver.0.wanted).await
        })
    }

    fn can_return(&self, call: Call, context: Arc<Context>) -> Work<Result<(), Failure>> {
        let driver = self.clone();
        Box::pin(async move {
            let target =
                driver.target(&call, (&context.run, context.epoch), Cancel::never(), LOOKING).await?;
            seal::can_return(&target, &call).await
        })
    }

    fn seal(
        &self,
        calls: Vec<Call>,
        context: Arc<Context>,
        passed: Option<Verdict>,
    ) -> Work<Result<Vec<String>, Failure>> {
        let driver = self.clone();
        Box::pin(async move {
            // The first stage of the run found what it is taken back to.
            let Some(call) = calls.first() else { return Ok(Vec::new()) };
            let target = driver.target(call, (&context.run, context.epoch), Cancel::never(), LOOKING).await?;
            seal::seal(&target, call, passed).await
        })
    }

    fn identify(&self, call: Call) -> Option<Work<Identity>> {
        let driver = self.clone();
        Some(Box::pin(async move {
            let target = driver.target(&call, ("identify", 0), Cancel::never(), LOOKING).await;
            match target {
                Ok(target) => identity::identify(&target).await,
                // Its steps will say what is wrong.
                Err(_) => Identity::default(),
            }
        }))
    }

    fn hold(&self, wish: Wish) -> Work<Vec<Other>> {
        let driver = self.clone();
        Box::pin(async move {
            let mut targets = Vec::new();
            for (index, call) in wish.calls.iter().enumerate() {
                let run = (wish.context.run.as_str(), wish.context.epoch);
                // One that cannot be reached is left to its steps.
                if let Ok(target) = driver.target(call, run, Cancel::never(), LOOKING).await {
                    targets.push((index, target));
                }
            }
            hold::hold(&targets, &wish).await
        })
    }

    fn let_go(&self, call: Call, context: Arc<Context>) -> Work<()> {
        let driver = self.clone();
        Box::pin(async move {
            let target = driver.target(&call, (&context.run, context.epoch), Cancel::never(), LOOKING).await;
            if let Ok(target) = target {
                driver.0.leases.let_go(&target).await;
            }
        })
    }

    fn inspect(&self, call: Call, context: Arc<Context>) -> Work<Result<Value, Failure>> {
        let driver = self.clone();
        Box::pin(async move {
            let target =
                driver.target(&call, (&context.run, context.epoch), Cancel::never(), LOOKING).await?;
            let release = adopt::found(&target, &call, &context.module).await?;
            Ok(Value::Map(BTreeMap::from([(
                "release".to_string(),
                Value::Text(release.unwrap_or_default()),
            )])))
        })
    }
}
