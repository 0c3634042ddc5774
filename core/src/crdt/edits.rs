//! What an edit may do: containers stand at the document's root and are named by key.

use automerge::{AutoCommit, ObjId, ObjType, ROOT, ReadDoc, transaction::Transactable};

use super::{CrdtError, Value};

/// A document while it is being edited.
pub struct Edits<'a> {
    pub(super) inner: &'a mut AutoCommit,
}

impl Edits<'_> {
    /// Creates container `key` of that kind. For genesis changes and foreign schemas.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn create(&mut self, key: &str, kind: Container) -> Result<(), CrdtError> {
        self.inner.put_object(ROOT, key, kind.into())?;
        Ok(())
    }

    /// Sets a root value. For genesis changes and the schema gate.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn put_root(&mut self, key: &str, value: &Value) -> Result<(), CrdtError> {
        self.put_at(&ROOT, key, value)
    }

    /// Sets `container[name]`, in the place of all values that stand there.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn put(&mut self, container: &str, name: &str, value: &Value) -> Result<(), CrdtError> {
        let object = self.container(container)?;
        self.put_at(&object, name, value)
    }

    /// Appends a map to list `container`.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn push<'v>(
        &mut self,
        container: &str,
        fields: impl IntoIterator<Item = (&'v str, &'v Value)>,
    ) -> Result<(), CrdtError> {
        let list = self.container(container)?;
        let end = self.inner.length(&list);
        let map = self.inner.insert_object(list, end, ObjType::Map)?;
        fields.into_iter().try_for_each(|(name, value)| self.put_at(&map, name, value))
    }

    /// Deletes and inserts in text `container`; `at` and `delete` count Unicode code points.
    ///
    /// # Errors
    /// When the container is not there or the range is outside of it.
    pub fn splice(&mut self, container: &str, at: usize, delete: usize, insert: &str) -> Result<(), CrdtError> {
        let text = self.container(container)?;
        let delete = isize::try_from(delete).map_err(|_| CrdtError::NoContainer)?;
        Ok(self.inner.splice_text(text, at, delete, insert)?)
    }

    /// The text `container`.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn text(&self, container: &str) -> Result<String, CrdtError> {
        Ok(self.inner.text(self.container(container)?)?)
    }

    /// Length of text `container` in Unicode code points.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn text_len(&self, container: &str) -> Result<usize, CrdtError> {
        Ok(self.inner.length(self.container(container)?))
    }

    fn put_at(&mut self, object: &ObjId, name: &str, value: &Value) -> Result<(), CrdtError> {
        if !value.is_finite() {
            return Err(CrdtError::NotANumber);
        }
        let Value::Record(fields) = value else {
            let scalar = value.to_scalar().expect("everything but a record is a scalar");
            return Ok(self.inner.put(object, name, scalar)?);
        };
        let map = self.inner.put_object(object, name, ObjType::Map)?;
        for (name, value) in fields {
            let scalar = value.to_scalar().ok_or(CrdtError::NestedRecord)?;
            self.inner.put(&map, name.as_str(), scalar)?;
        }
        Ok(())
    }

    fn container(&self, key: &str) -> Result<ObjId, CrdtError> {
        match self.inner.get(ROOT, key)? {
            Some((automerge::Value::Object(_), id)) => Ok(id),
            _ => Err(CrdtError::NoContainer),
        }
    }
}

/// Kinds of root containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Named fields.
    Map,
    /// Appended items.
    List,
    /// Collaborative text.
    Text,
}

impl From<Container> for ObjType {
    fn from(kind: Container) -> Self {
        match kind {
            Container::Map => ObjType::Map,
            Container::List => ObjType::List,
            Container::Text => ObjType::Text,
        }
    }
}
