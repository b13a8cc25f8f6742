//! The flat lists of a DoclingDocument and the pointers between their items.

use serde_json::{Map, Value, json};

/// The pointer of the body's root.
pub(super) const BODY: &str = "#/body";

/// Items by list; each knows its parent and its children by JSON pointer.
#[derive(Default)]
pub(super) struct Tree {
    body: Vec<Value>,
    groups: Vec<Value>,
    texts: Vec<Value>,
    tables: Vec<Value>,
    pictures: Vec<Value>,
    form_items: Vec<Value>,
}

impl Tree {
    fn list(&mut self, name: &str) -> &mut Vec<Value> {
        match name {
            "groups" => &mut self.groups,
            "tables" => &mut self.tables,
            "pictures" => &mut self.pictures,
            "form_items" => &mut self.form_items,
            _ => &mut self.texts,
        }
    }

    /// Adds an item to the list `name` below `parent` and gives its pointer.
    pub(super) fn add(&mut self, name: &str, parent: &str, item: Value) -> String {
        let list = self.list(name);
        let pointer = format!("#/{name}/{}", list.len());
        let mut whole = Map::new();
        whole.insert("self_ref".into(), json!(pointer));
        whole.insert("parent".into(), json!({ "$ref": parent }));
        whole.insert("children".into(), json!([]));
        if let Value::Object(item) = item {
            whole.extend(item);
        }
        list.push(Value::Object(whole));
        self.push_ref(parent, "children", &pointer);
        pointer
    }

    /// Appends a pointer to a list field of the item at `owner`.
    pub(super) fn push_ref(&mut self, owner: &str, field: &str, pointer: &str) {
        let reference = json!({ "$ref": pointer });
        let place = owner.strip_prefix("#/").and_then(|path| path.split_once('/'));
        match place.and_then(|(name, index)| Some((name, index.parse::<usize>().ok()?))) {
            None => self.body.push(reference),
            Some((name, index)) => {
                let field = self.list(name).get_mut(index).and_then(|item| item.get_mut(field));
                if let Some(Value::Array(references)) = field {
                    references.push(reference);
                }
            }
        }
    }

    /// Writes the trees and lists in the schema's order.
    pub(super) fn write(self, root: &mut Map<String, Value>) {
        let tree = |pointer: &str, layer: &str, children: Vec<Value>| {
            json!({
                "self_ref": pointer,
                "children": children,
                "content_layer": layer,
                "name": "_root_",
                "label": "unspecified",
            })
        };
        root.insert("furniture".into(), tree("#/furniture", "furniture", Vec::new()));
        root.insert("body".into(), tree(BODY, "body", self.body));
        root.insert("groups".into(), Value::Array(self.groups));
        root.insert("texts".into(), Value::Array(self.texts));
        root.insert("pictures".into(), Value::Array(self.pictures));
        root.insert("tables".into(), Value::Array(self.tables));
        root.insert("key_value_items".into(), Value::Array(Vec::new()));
        root.insert("form_items".into(), Value::Array(self.form_items));
    }
}
