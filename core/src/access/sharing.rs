//! What a device that may write a document may give of it to others.

use super::{Grant, Permit, Subject};

/// The share would leave somebody with less than he has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share gives and never takes away")]
pub struct TakesAway;

impl Permit {
    /// The grant that a share comes to; `None` when whom it is for has as much already. It ends with what the sharer has
    /// himself: an hour's emergency is not made to last by sharing it.
    ///
    /// # Errors
    /// When the subject would have less than `held`. Only what was shared with another tenant is shortened or lowered by
    /// whoever may write: a stolen device must not take a case from the people who work in it.
    pub fn share(&self, held: Option<&Grant>, wanted: Grant) -> Result<Option<Grant>, TakesAway> {
        let until = earlier(self.until, wanted.until);
        let given = Grant { access: wanted.access.min(self.access), until, ..wanted.clone() };
        let Some(held) = held.filter(|_| !is_guest(&wanted.subject)) else { return Ok(Some(given)) };
        if !wanted.reaches(held) {
            return Err(TakesAway);
        }
        match (held.reaches(&given), given.reaches(held)) {
            (true, _) => Ok(None),
            (false, true) => Ok(Some(given)),
            (false, false) => Err(TakesAway),
        }
    }

    /// Whether the sharer may end the subject's grant.
    ///
    /// # Errors
    /// See [`Permit::share`].
    pub fn unshare(&self, subject: &Subject) -> Result<(), TakesAway> {
        is_guest(subject).then_some(()).ok_or(TakesAway)
    }
}

impl Grant {
    /// Whether nobody loses anything who has this instead of `other`.
    pub fn reaches(&self, other: &Grant) -> bool {
        self.access >= other.access && earlier(self.until, other.until) == other.until
    }
}

fn is_guest(subject: &Subject) -> bool {
    matches!(subject, Subject::Guest { .. })
}

/// `None` is never.
fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::Access,
        ids::{CaseId, DocumentId, Part},
    };

    fn unit(access: Access, until: Option<i64>) -> Grant {
        Grant { until, ..Grant::new(Subject::Unit("rtw-1".parse().unwrap()), access) }
    }

    fn guest(access: Access, until: Option<i64>) -> Grant {
        let subject = Subject::Guest { tenant: "hagen".parse().unwrap(), unit: "tnz-1".parse().unwrap() };
        Grant { subject, ..unit(access, until) }
    }

    fn permit(until: Option<i64>) -> Permit {
        let document = DocumentId { case: CaseId(uuid::Uuid::from_bytes([1; 16])), part: Part::Clinical };
        Permit { document, access: Access::Write, until }
    }

    #[test]
    fn a_share_gives_what_is_wanted_to_whoever_has_nothing() {
        for wanted in [unit(Access::Read, None), unit(Access::Write, Some(9)), guest(Access::Read, Some(3))] {
            assert_eq!(permit(None).share(None, wanted.clone()), Ok(Some(wanted)));
        }
    }

    #[test]
    fn a_share_ends_with_the_sharers_own_access() {
        for (wanted, given) in [(None, 5), (Some(9), 5), (Some(3), 3)] {
            let given = Ok(Some(unit(Access::Write, Some(given))));
            assert_eq!(permit(Some(5)).share(None, unit(Access::Write, wanted)), given);
        }
        let given = permit(Some(5)).share(Some(&guest(Access::Write, None)), guest(Access::Write, None));
        assert_eq!(given, Ok(Some(guest(Access::Write, Some(5)))));
    }

    #[test]
    fn a_share_takes_from_nobody_of_the_own_tenant() {
        use Access::{Read, Write};
        let share = |own, held, wanted| permit(own).share(Some(&held), wanted);
        assert_eq!(share(None, unit(Write, None), unit(Read, None)), Err(TakesAway), "lowered");
        assert_eq!(share(None, unit(Write, None), unit(Write, Some(9))), Err(TakesAway), "shortened");
        assert_eq!(share(None, unit(Write, Some(9)), unit(Write, Some(8))), Err(TakesAway));
        assert_eq!(share(Some(5), unit(Read, None), unit(Write, None)), Err(TakesAway), "raised, but for less time");
        assert_eq!(share(Some(5), unit(Write, None), unit(Write, None)), Ok(None), "he has it already");
        assert_eq!(share(None, unit(Write, None), unit(Write, None)), Ok(None));
        assert_eq!(share(None, unit(Read, Some(3)), unit(Write, Some(9))), Ok(Some(unit(Write, Some(9)))), "more");
        assert_eq!(share(None, guest(Write, None), guest(Read, Some(3))), Ok(Some(guest(Read, Some(3)))));
        assert_eq!(permit(None).unshare(&unit(Read, None).subject), Err(TakesAway));
        assert_eq!(permit(None).unshare(&guest(Read, None).subject), Ok(()));
    }
}
