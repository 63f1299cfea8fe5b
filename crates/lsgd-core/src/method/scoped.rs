//! What a rule or a method has twice: once within a node, once over all nodes.

use std::sync::Arc;

use crate::{RuleState, Scope, Snapshot};

/// One value for exchanges within a node, and one for exchanges over all nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scoped<T> {
    pub local: T,
    pub global: T,
}

impl<T: Copy> Scoped<T> {
    pub fn both(value: T) -> Self {
        Self {
            local: value,
            global: value,
        }
    }
}

impl<T> Scoped<T> {
    pub fn of(&mut self, scope: Scope) -> &mut T {
        match scope {
            Scope::Local => &mut self.local,
            Scope::Global => &mut self.global,
        }
    }
}

impl Scoped<Option<Arc<Snapshot>>> {
    /// Adds the vectors to `state`, as `name.local` and `name.global`.
    pub fn save(&self, name: &str, state: &mut RuleState) {
        for (scope, vector) in [("local", &self.local), ("global", &self.global)] {
            let vector = vector.iter();
            let named = vector.map(|vector| (format!("{name}.{scope}"), vector.clone()));
            state.vectors.extend(named);
        }
    }

    /// Those vectors again.
    pub fn saved(name: &str, state: &RuleState) -> Self {
        let of = |scope| state.vectors.get(&format!("{name}.{scope}")).cloned();
        Self {
            local: of("local"),
            global: of("global"),
        }
    }
}
