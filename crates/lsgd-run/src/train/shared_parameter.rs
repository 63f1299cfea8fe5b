//! Detects a parameter that a module holds twice.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// The paths of the first parameter that occurs in `module` twice, if there is one.
///
/// Burn's optimizers (0.22.1) consume a parameter's gradient at its first occurrence: the others
/// would not be trained, and would drift apart from it.
pub fn shared_parameter<M: Module>(module: &M) -> Option<(String, String)> {
    let mut visitor = Ids::default();
    module.visit(&mut visitor);
    visitor.twice
}

#[derive(Default)]
struct Ids {
    path: Vec<String>,
    seen: HashMap<ParamId, String>,
    twice: Option<(String, String)>,
}

impl ModuleVisitor for Ids {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if let Some(first) = self.seen.insert(param.id, path.clone()) {
            self.twice.get_or_insert((first, path));
        }
    }
}
