//! A namespace of its own in each of two clusters, a module that deploys to them, and a look at what is there.

use super::proxy::{Fault, Proxy, Rule, tunnel};
use crate::support::{Said, Sandbox, repository, said};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// An image that is small and everywhere, under two tags.
pub const IMAGE: &str = "registry.k8s.io/pause";

/// What the service consists of: a Deployment that reads a ConfigMap, and a Service.
pub const MANIFEST: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: { name: shop-settings }
data: { greeting: "hello from ${service.artifact.tag}" }
---
apiVersion: v1
kind: Service
metadata: { name: shop, namespace: "${infra.namespace}" }
spec:
  selector: { app: shop }
  ports: [{ port: 80 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  replicas: 3
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop, version: "v${service.artifact.tag}" } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: shop
          image: ${service.artifact.image}:${service.artifact.tag}
          envFrom: [{ configMapRef: { name: shop-settings } }]
"#;

/// Services and targets; `PHASES` is the workflow's body.
const MODULE: &str = r#"
service shop(image: string, version: string) = kubernetes {
  artifact  = docker_image { image, tag = version }
  manifests = ["k8s/*.yaml"]
}

environment test {
  kind = non_production
  infrastructure region1 = kubernetes { context = "CONTEXT1", namespace = "NAMESPACE" }
  infrastructure region2 = kubernetes { context = "CONTEXT2", namespace = "NAMESPACE" }
}

workflow ship(service: service<kubernetes>, infra: infrastructure<kubernetes>, broken: bool = false) {
  strategy = STRATEGY
  PHASES
}

pipeline release(version: string, image: string = "IMAGE", broken: bool = false) {
  parallel {
    stage region1 = ship { service = shop { image, version }, infra = test.region1 }
    stage region2 = ship { service = shop { image, version }, infra = test.region2, broken }
  }
}
"#;

/// Two clusters with a namespace in each, and a module that deploys to them.
pub struct World {
    pub sandbox: Sandbox,
    pub namespace: String,
    kubeconfig: PathBuf,
    contexts: [String; 2],
    clients: [Client; 2],
    proxies: Vec<Proxy>,
    /// Regions and names of further namespaces.
    more: Mutex<Vec<(usize, String)>>,
    runtime: Runtime,
}

/// A world for the test of that name; none, said aloud, where there are no clusters to test with.
pub fn world(test: &str, strategy: &str, phases: &str) -> Option<World> {
    let Some(kubeconfig) = std::env::var_os("LOCKSTEP_TEST_KUBECONFIG") else {
        eprintln!(
            "SKIPPED: {test} needs Kubernetes; set LOCKSTEP_TEST_KUBECONFIG to a kubeconfig with two contexts that may \
             create namespaces"
        );
        return None;
    };
    let kubeconfig = PathBuf::from(kubeconfig);
    let file = Kubeconfig::read_from(&kubeconfig).expect("LOCKSTEP_TEST_KUBECONFIG can be read");
    let names: Vec<String> = file.contexts.iter().map(|context| context.name.clone()).collect();
    let wanted: Vec<String> = names.into_iter().filter(|name| !name.ends_with("-deployer")).take(2).collect();
    let contexts: [String; 2] = wanted.try_into().expect("the kubeconfig has two contexts");
    let runtime = Runtime::new().unwrap();
    let clients = contexts.clone().map(|context| {
        let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
        runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(file.clone(), &options).await.unwrap();
            Client::try_from(config).unwrap()
        })
    });
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let namespace = format!("{}-{}", test.replace('_', "-"), since.as_micros() % 1_000_000_000);
    let source = MODULE
        .replace("CONTEXT1", &contexts[0])
        .replace("CONTEXT2", &contexts[1])
        .replace("NAMESPACE", &namespace)
        .replace("IMAGE", IMAGE)
        .replace("STRATEGY", strategy)
        .replace("PHASES", phases);
    let sandbox = Sandbox::of_source(&source);
    let more = Mutex::default();
    let world =
        World { sandbox, namespace, kubeconfig, contexts, clients, proxies: Vec::new(), more, runtime };
    world.manifest(MANIFEST);
    for client in &world.clients {
        let object = json!({ "metadata": { "name": world.namespace } });
        let api: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(object).unwrap();
        world.runtime.block_on(api.create(&PostParams::default(), &object)).unwrap();
    }
    Some(world)
}

impl World {
    /// Writes the service's manifest.
    pub fn manifest(&self, text: &str) {
        let folder = self.sandbox.module().join("k8s");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("shop.yaml"), text).unwrap();
    }

    /// Has the program see the clusters through proxies with these rules from now on.
    pub fn proxy(&mut self, rules: [Rule; 2]) {
        let upstreams = self.clients.iter().cloned().zip(rules);
        self.proxies =
            upstreams.map(|(client, rule)| self.runtime.block_on(Proxy::start(client, rule))).collect();
        let named = |kind: &str, make: &dyn Fn(usize) -> Json| -> Json {
            (0..2).map(|index| json!({ "name": self.contexts[index], kind: make(index) })).collect()
        };
        let file = json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": named("cluster", &|index| json!({ "server": self.proxies[index].address })),
            "contexts": named("context", &|index| json!({ "cluster": self.contexts[index], "user": "nobody" })),
            "users": [{ "name": "nobody", "user": {} }],
        });
        self.kubeconfig = self.sandbox.module().join("kubeconfig.json");
        fs::write(&self.kubeconfig, file.to_string()).unwrap();
    }

    /// What the proxies have seen.
    pub fn seen(&self) -> Vec<(hyper::Method, String, Fault)> {
        self.proxies.iter().flat_map(|proxy| proxy.seen.lock().unwrap().clone()).collect()
    }

    /// What the proxy of a region has seen.
    pub fn seen_in(&self, region: usize) -> Vec<(hyper::Method, String, Fault)> {
        self.proxies[region - 1].seen.lock().unwrap().clone()
    }

    /// Replaces strategy and phases of the workflow.
    pub fn rewrite(&self, strategy: &str, new_strategy: &str, phases: &str, new_phases: &str) {
        let path = self.sandbox.module().join("main.lockstep");
        let source = fs::read_to_string(&path).unwrap();
        assert!(source.contains(phases));
        let source =
            source.replace(&format!("strategy = {strategy}\n"), &format!("strategy = {new_strategy}\n"));
        fs::write(path, source.replace(phases, new_phases)).unwrap();
    }

    /// `dsl run MODULE release …`
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.run(&[&["release"], arguments].concat());
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs the pipeline to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    /// `dsl plan MODULE release … --diff`
    pub fn diff(&self, arguments: &[&str]) -> Said {
        let mut command = self.sandbox.dsl("plan");
        command.arg(self.sandbox.module()).arg("release").args(arguments).arg("--diff");
        said(command.env("KUBECONFIG", &self.kubeconfig))
    }

    /// Goes on with the last run.
    pub fn resume(&self) -> Said {
        said(self.sandbox.dsl("resume").arg("last").env("KUBECONFIG", &self.kubeconfig))
    }

    /// What the program is shown.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// Takes the last run back.
    pub fn roll_back(&self) -> Said {
        self.roll_back_run("last")
    }

    pub fn roll_back_run(&self, run: &str) -> Said {
        said(self.sandbox.dsl("rollback").arg(run).env("KUBECONFIG", &self.kubeconfig))
    }

    /// How many releases a region keeps.
    pub fn releases(&self, region: usize) -> usize {
        let mut names = self.names(region, "v1", "Secret");
        names.retain(|name| name.starts_with("lockstep.shop.") && name.ends_with(".0"));
        names.len()
    }

    fn api(&self, region: usize, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.clients[region - 1].clone(), &self.namespace, &resource)
    }

    /// An object of a region (1 or 2).
    pub fn get(&self, region: usize, version: &str, kind: &str, name: &str) -> Option<Json> {
        let found = self.runtime.block_on(self.api(region, version, kind).get_opt(name)).unwrap();
        found.map(|object| serde_json::to_value(object).unwrap())
    }

    pub fn deployment(&self, region: usize, name: &str) -> Json {
        self.get(region, "apps/v1", "Deployment", name).expect("the Deployment is there")
    }

    /// One more namespace, which goes with the world.
    pub fn make_namespace(&self, region: usize, name: &str) {
        let api: Api<Namespace> = Api::all(self.clients[region - 1].clone());
        let object = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        self.runtime.block_on(api.create(&PostParams::default(), &object)).unwrap();
        self.goes_with_it(region, name);
    }

    /// A namespace that the program makes: it goes with the world.
    pub fn goes_with_it(&self, region: usize, name: &str) {
        self.more.lock().unwrap().push((region, name.to_string()));
    }

    /// Adds a kind to a region's cluster, unless it knows it, and waits until it does.
    pub fn define(&self, region: usize, definition: &Json) {
        let client = self.clients[region - 1].clone();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
        ));
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let object: DynamicObject = serde_json::from_value(definition.clone()).unwrap();
        let name = object.metadata.name.clone().unwrap();
        self.runtime.block_on(async {
            // Another test may have been first.
            let _ = api.create(&PostParams::default(), &object).await;
            loop {
                let now = api.get(&name).await.unwrap();
                let conditions = now.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                if conditions.iter().any(|it| it["type"] == "Established" && it["status"] == "True") {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
    }

    /// Evicts every pod of a region, as a drained node would; how many there were.
    pub fn evict_all(&self, region: usize) -> usize {
        let api: Api<Pod> = Api::namespaced(self.clients[region - 1].clone(), &self.namespace);
        let mut evicted = 0;
        for pod in self.runtime.block_on(api.list(&ListParams::default())).unwrap() {
            let name = pod.metadata.name.unwrap();
            let uri = format!("/api/v1/namespaces/{}/pods/{name}/eviction", self.namespace);
            let body =
                json!({ "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": { "name": name } });
            let request = hyper::Request::post(uri).header("content-type", "application/json");
            let request = request.body(body.to_string().into_bytes()).unwrap();
            let answer = self.runtime.block_on(self.clients[region - 1].request::<Json>(request));
            evicted += usize::from(answer.is_ok());
        }
        evicted
    }

    /// Names of all objects of a kind, sorted.
    pub fn names(&self, region: usize, version: &str, kind: &str) -> Vec<String> {
        let list =
            self.runtime.block_on(self.api(region, version, kind).list(&ListParams::default())).unwrap();
        let mut names: Vec<String> =
            list.items.into_iter().filter_map(|object| object.metadata.name).collect();
        // Newer clusters put one of their own into each namespace.
        names.retain(|name| name != "kube-root-ca.crt");
        names.sort();
        names
    }

    /// Names of the ReplicaSets that have pods.
    pub fn sets_with_pods(&self, region: usize) -> Vec<String> {
        let mut sets = self.names(region, "apps/v1", "ReplicaSet");
        sets.retain(|name| {
            let set = self.get(region, "apps/v1", "ReplicaSet", name);
            set.is_some_and(|set| set["status"]["replicas"] != 0)
        });
        sets
    }

    /// Has the program find what it has to know in two files of `KUBECONFIG`, with that region as the current context.
    pub fn split_kubeconfig(&self, region: usize) -> std::ffi::OsString {
        let mut file = serde_json::to_value(Kubeconfig::read_from(&self.kubeconfig).unwrap()).unwrap();
        let mut second =
            json!({ "apiVersion": "v1", "kind": "Config", "current-context": self.context(region) });
        second["contexts"] = file["contexts"].take();
        file.as_object_mut()
            .unwrap()
            .retain(|key, _| !["contexts", "current-context"].contains(&key.as_str()));
        let paths = [("first.json", file), ("second.json", second)].map(|(name, file)| {
            let path = self.sandbox.module().join(name);
            fs::write(&path, file.to_string()).unwrap();
            path
        });
        std::env::join_paths(paths).unwrap()
    }

    /// Applies an object as somebody else would.
    pub fn apply_as(&self, region: usize, manager: &str, object: &Json) {
        let api = self.api(region, object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let parameters = PatchParams::apply(manager).force();
        let name = object["metadata"]["name"].as_str().unwrap();
        self.runtime.block_on(api.patch(name, &parameters, &Patch::Apply(object))).unwrap();
    }

    /// Makes an object as somebody else would who does not apply it: its fields are his all the same.
    pub fn create_as(&self, region: usize, manager: &str, object: &Json) {
        let api = self.api(region, object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let parameters = PostParams { field_manager: Some(manager.into()), ..PostParams::default() };
        let object = serde_json::from_value(object.clone()).unwrap();
        self.runtime.block_on(api.create(&parameters, &object)).unwrap();
    }

    /// Applies an object as somebody else would, whenever a proxy's rule says so: between two calls of the program.
    pub fn meddler(&self, region: usize, manager: &'static str) -> impl Fn(&Json) + Send + Sync + use<> {
        let world = (self.clients[region - 1].clone(), self.namespace.clone());
        move |object: &Json| {
            let (client, namespace) = world.clone();
            let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
            let name = object["metadata"]["name"].as_str().unwrap();
            let (parameters, patch) = (PatchParams::apply(manager).force(), Patch::Apply(object));
            let written = api.patch(name, &parameters, &patch);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(written)).unwrap();
        }
    }

    /// The pod template and selector's image that serves: the ReplicaSet with pods.
    pub fn serving(&self, region: usize, app: &str) -> Vec<(String, i64)> {
        self.serving_in(region, &self.namespace, app)
    }

    /// The same, in some other namespace.
    pub fn serving_in(&self, region: usize, namespace: &str, app: &str) -> Vec<(String, i64)> {
        let parameters = ListParams::default().labels(&format!("app={app}"));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "ReplicaSet"));
        let client = self.clients[region - 1].clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
        let list = self.runtime.block_on(api.list(&parameters)).unwrap();
        let mut serving: Vec<(String, i64)> = list
            .items
            .iter()
            .map(|set| {
                let image = &set.data["spec"]["template"]["spec"]["containers"][0]["image"];
                (
                    image.as_str().unwrap().to_string(),
                    set.data["status"]["readyReplicas"].as_i64().unwrap_or(0),
                )
            })
            .filter(|(_, ready)| *ready > 0)
            .collect();
        serving.sort();
        serving
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for client in &self.clients {
            let api: Api<Namespace> = Api::all(client.clone());
            // The next run has a namespace of its own in any case.
            let _ = self.runtime.block_on(api.delete(&self.namespace, &DeleteParams::background()));
        }
        for (region, name) in self.more.lock().unwrap().iter() {
            let api: Api<Namespace> = Api::all(self.clients[region - 1].clone());
            let _ = self.runtime.block_on(api.delete(name, &DeleteParams::background()));
        }
    }
}

impl World {
    /// The context of a user without any rights, where the test clusters have one.
    pub fn deployer(&self, region: usize) -> Option<String> {
        let name = format!("{}-deployer", self.contexts[region - 1]);
        let file = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let found = file.contexts.into_iter().any(|context| context.name == name);
        if !found {
            eprintln!("SKIPPED: the kubeconfig has no context `{name}` of a user without rights");
        }
        found.then_some(name)
    }

    /// Lets that user do what a Role says.
    pub fn grant(&self, region: usize, role: &str) {
        let group =
            json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "test:deployers" });
        self.grant_to(region, role, &group);
    }

    /// Lets somebody do what a Role says.
    pub fn grant_to(&self, region: usize, role: &str, subject: &Json) {
        let role = role.replace("NAMESPACE", &self.namespace);
        let role: Json = serde_saphyr::from_str(&role).unwrap();
        self.apply_as(region, "admin", &role);
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "lockstep" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lockstep" },
            "subjects": [subject],
        });
        self.apply_as(region, "admin", &binding);
    }

    /// The command as a pod of a region's cluster would run it: with the token of the namespace's default service account where
    /// pods have it, and without a kubeconfig. None, said aloud, where this machine or the kubeconfig does not allow for that.
    pub fn in_cluster(&self, region: usize, command: Command) -> Option<Command> {
        const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
        let mut apart = Command::new("unshare");
        apart.args(["--map-root-user", "--mount", "sh", "-ec"]);
        if !apart.arg("mount -t tmpfs none /var/run").output().is_ok_and(|tried| tried.status.success()) {
            eprintln!("SKIPPED: `unshare` cannot give a process a {FOLDER} of its own here");
            return None;
        }
        let file = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let context = file.contexts.iter().find(|context| context.name == self.context(region)).unwrap();
        let wanted = &context.context.as_ref().unwrap().cluster;
        let cluster = file.clusters.iter().find(|cluster| cluster.name == *wanted)?.cluster.as_ref()?;
        let server = cluster.server.as_deref()?.strip_prefix("https://")?;
        let (host, port) = server.trim_end_matches('/').rsplit_once(':').unwrap_or((server, "443"));
        let authority = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
            (Some(data), _) => serde_json::from_value::<ByteString>(data.as_str().into()).unwrap().0,
            (None, Some(path)) => fs::read(path).unwrap(),
            (None, None) => panic!("the kubeconfig names no authority"),
        };
        let uri = format!("/api/v1/namespaces/{}/serviceaccounts/default/token", self.namespace);
        let wish = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
        let token = loop {
            let asked = hyper::Request::post(&uri).header("content-type", "application/json");
            let asked = asked.body(wish.to_string().into_bytes()).unwrap();
            match self.runtime.block_on(self.clients[region - 1].request::<Json>(asked)) {
                Ok(token) => break token,
                // A controller makes the account soon after the namespace.
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                Err(error) => panic!("{error}"),
            }
        };
        let folder = self.sandbox.module().join("account");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("token"), token["status"]["token"].as_str().unwrap()).unwrap();
        fs::write(folder.join("ca.crt"), authority).unwrap();
        fs::write(folder.join("namespace"), &self.namespace).unwrap();

        let mut pod = Command::new("unshare");
        pod.args(["--map-root-user", "--mount", "sh", "-ec"]);
        pod.arg(format!(
            "mount -t tmpfs none /var/run; mkdir -p {FOLDER}; cp \"$0\"/* {FOLDER}; exec \"$@\""
        ));
        pod.arg(&folder).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => pod.env(name, value),
                None => pod.env_remove(name),
            };
        }
        pod.env_remove("KUBECONFIG").env("HOME", &folder);
        pod.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
        Some(pod)
    }

    /// Has the program reach the clusters through a proxy that the kubeconfig names; counts its connections. None, said aloud,
    /// where they are not reached by TLS, which is what such proxies pass on.
    pub fn through_a_tunnel(&mut self) -> Option<Arc<AtomicUsize>> {
        let count = Arc::new(AtomicUsize::new(0));
        let address = self.runtime.block_on(tunnel(count.clone()));
        let mut file = serde_json::to_value(Kubeconfig::read_from(&self.kubeconfig).unwrap()).unwrap();
        for entry in file["clusters"].as_array_mut().unwrap() {
            if !entry["cluster"]["server"].as_str().unwrap_or_default().starts_with("https://") {
                eprintln!("SKIPPED: the kubeconfig's clusters are not reached by TLS");
                return None;
            }
            entry["cluster"]["proxy-url"] = format!("http://{address}").into();
        }
        self.kubeconfig = self.sandbox.module().join("kubeconfig.json");
        fs::write(&self.kubeconfig, file.to_string()).unwrap();
        Some(count)
    }

    /// Replaces text in a file of the module.
    pub fn edit(&self, file: &str, old: &str, new: &str) {
        let path = self.sandbox.module().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "`{old}` is not in {file}");
        fs::write(path, text.replace(old, new)).unwrap();
    }

    /// An object of a region that belongs to no namespace.
    pub fn get_shared(&self, region: usize, version: &str, kind: &str, name: &str) -> Option<Json> {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::all_with(self.clients[region - 1].clone(), &resource);
        let found = self.runtime.block_on(api.get_opt(name)).unwrap();
        found.map(|object| serde_json::to_value(object).unwrap())
    }

    /// Deletes an object of a region that belongs to no namespace, and waits until it is gone.
    pub fn delete_shared(&self, region: usize, version: &str, kind: &str, name: &str) {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::all_with(self.clients[region - 1].clone(), &resource);
        self.runtime.block_on(async {
            api.delete(name, &DeleteParams::background()).await.unwrap();
            while api.get_opt(name).await.unwrap().is_some() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
    }

    /// Sets a Deployment's number of replicas, as `kubectl scale` and autoscalers do.
    pub fn scale(&self, region: usize, name: &str, replicas: i64) {
        let api = self.api(region, "apps/v1", "Deployment");
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.runtime.block_on(api.patch_scale(name, &PatchParams::default(), &patch)).unwrap();
    }

    /// Whether nobody owns a Deployment's number of replicas; none where there is no such Deployment.
    pub fn unowned_replicas(&self, region: usize, name: &str) -> Option<bool> {
        let deployment = self.get(region, "apps/v1", "Deployment", name)?;
        let managers = deployment["metadata"]["managedFields"].as_array()?.clone();
        Some(managers.iter().all(|entry| entry["fieldsV1"]["f:spec"]["f:replicas"].is_null()))
    }

    /// Deletes an object of a region.
    pub fn delete(&self, region: usize, version: &str, kind: &str, name: &str) {
        let api = self.api(region, version, kind);
        self.runtime.block_on(api.delete(name, &DeleteParams::background())).unwrap();
    }

    /// Has the program ask another one for its credentials, with the user's name; gives what that has to print for each.
    /// None where users have no tokens.
    pub fn log_in_by(&mut self, program: &std::path::Path) -> Option<Vec<(String, Json)>> {
        let mut file = serde_json::to_value(Kubeconfig::read_from(&self.kubeconfig).unwrap()).unwrap();
        let mut credentials = Vec::new();
        for entry in file["users"].as_array_mut().unwrap() {
            let name = entry["name"].as_str().unwrap().to_string();
            let Some(token) = entry["user"]["token"].as_str() else {
                eprintln!("SKIPPED: the kubeconfig's users have no tokens to be handed out by a program");
                return None;
            };
            let credential = json!({
                "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": token },
            });
            entry["user"] = json!({ "exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": program, "args": [name],
                "interactiveMode": "Never",
            } });
            credentials.push((name, credential));
        }
        self.kubeconfig = self.sandbox.module().join("kubeconfig.json");
        fs::write(&self.kubeconfig, file.to_string()).unwrap();
        Some(credentials)
    }

    /// The context's name, for messages.
    pub fn context(&self, region: usize) -> &str {
        &self.contexts[region - 1]
    }
}

/// The Role that docs/kubernetes.md says is needed.
pub fn documented_role() -> String {
    let page = std::fs::read_to_string(repository().join("docs/kubernetes.md")).unwrap();
    let block = page.split("```yaml\n").find(|block| block.contains("kind: Role")).unwrap();
    block.split("```").next().unwrap().to_string()
}

/// A Deployment `shop` as somebody writes it who knows nothing of Lockstep.
pub fn by_hand() -> Json {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "shop" } },
            "template": {
                "metadata": { "labels": { "app": "shop" } },
                "spec": { "containers": [{ "name": "shop", "image": format!("{IMAGE}:3.9"), "args": ["by-hand"] }] },
            },
        },
    })
}
