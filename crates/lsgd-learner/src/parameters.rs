//! A module with the parameters of another and running statistics of its own.

use std::any::Any;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use lsgd_core::is_buffer;

/// `module` with the parameters of `stepped`, a module of the same structure and parameter ids. No
/// value is copied. BatchNorm's running statistics, including pending updates, stay.
pub fn with_parameters<M: Module>(module: M, stepped: &M) -> M {
    let mut taken = Parameters::default();
    stepped.visit(&mut taken);
    module.map(&mut taken)
}

/// Parameters by id.
#[derive(Default)]
struct Parameters {
    /// Names of the fields on the path to the visitor's position.
    path: Vec<String>,
    /// A `Param<Tensor<D>>` each.
    parameters: HashMap<ParamId, Box<dyn Any>>,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.path.last().is_some_and(|name| is_buffer(name)) {
            self.parameters.insert(param.id, Box::new(param.clone()));
        }
    }
}

impl ModuleMapper for Parameters {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let taken = self.parameters.get(&param.id);
        let taken = taken.and_then(|taken| taken.downcast_ref::<Param<Tensor<D>>>());
        taken.cloned().unwrap_or(param)
    }
}
