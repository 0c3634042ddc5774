//! What happens to a link of a profile, and when: gaps, other addresses, other ports, the other SIM card.
//!
//! Pure: the same profile and seed give the same list. [`super::weather`] makes it happen.

use std::{iter, ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::profile::{Profile, Radio};

/// Something that happens to a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Nothing passes for that long.
    Gap(Duration),
    /// The device gets another address.
    Address,
    /// The conversations get other ports.
    Ports,
    /// The device goes on through that radio.
    Radio(Box<Radio>),
}

/// Events with their moments since the link came about, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable(Vec<(Duration, Event)>);

impl Timetable {
    /// What happens to a link of that profile until then.
    pub fn of(profile: &Profile, seed: u64, until: Duration) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut events = Vec::new();
        if let Some(length) = &profile.begins_without {
            events.push((Duration::ZERO, Event::Gap(draw(&mut rng, length))));
        }
        if let Some((length, apart)) = &profile.radio.gaps {
            let mut at = *apart;
            while at < until {
                let gap = draw(&mut rng, length);
                events.push((at, Event::Gap(gap)));
                at += gap + *apart;
            }
        }
        let mut repeat = |every: Option<Duration>, event: Event| {
            events.extend(moments(every, until).map(|at| (at, event.clone())));
        };
        repeat(profile.address_changes_every, Event::Address);
        repeat(profile.nat_rebinds_every, Event::Ports);
        if let Some((other, turn)) = &profile.alternates {
            let turns = [other, &profile.radio].into_iter().cycle();
            events.extend(moments(Some(*turn), until).zip(turns).map(|(at, to)| (at, Event::Radio(to.clone().into()))));
        }
        events.sort_by_key(|(at, _)| *at);
        Self(events)
    }

    /// The same with whatever comes before there has been a link shortened to that.
    pub fn beginning_within(mut self, longest: Duration) -> Self {
        if let Some((Duration::ZERO, Event::Gap(gap))) = self.0.first_mut() {
            *gap = longest.min(*gap);
        }
        self
    }

    /// What happens.
    pub fn events(&self) -> &[(Duration, Event)] {
        &self.0
    }
}

/// Moments that far apart.
fn moments(every: Option<Duration>, until: Duration) -> impl Iterator<Item = Duration> {
    let first = every.filter(|at| *at < until);
    iter::successors(first, move |at| Some(*at + every?).filter(|next| *next < until))
}

fn draw(rng: &mut StdRng, range: &RangeInclusive<Duration>) -> Duration {
    rng.random_range(range.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn gaps(timetable: &Timetable) -> Vec<Duration> {
        let gap = |event: &Event| if let Event::Gap(gap) = event { Some(*gap) } else { None };
        timetable.events().iter().filter_map(|(_, event)| gap(event)).collect()
    }

    fn count(timetable: &Timetable, wanted: &Event) -> usize {
        timetable.events().iter().filter(|(_, event)| event == wanted).count()
    }

    #[test]
    fn an_hour_on_the_road_has_its_gaps_and_addresses() {
        let timetable = Timetable::of(&Profile::MOVING, 1, HOUR);
        let gaps = gaps(&timetable);
        assert!((55..60).contains(&gaps.len()), "{}", gaps.len());
        assert!(gaps.iter().all(|gap| (1_000..=5_000).contains(&gap.as_millis())));
        assert_eq!(count(&timetable, &Event::Address), 11);
        assert!(timetable.events().is_sorted_by_key(|(at, _)| *at));
        assert_eq!(timetable, Timetable::of(&Profile::MOVING, 1, HOUR));
        assert_ne!(timetable, Timetable::of(&Profile::MOVING, 2, HOUR));
    }

    #[test]
    fn a_basement_comes_before_everything_and_can_be_shortened() {
        let timetable = Timetable::of(&Profile::BASEMENT, 1, HOUR);
        let minutes = gaps(&timetable)[0].as_secs() / 60;
        assert!((10..=40).contains(&minutes), "{minutes}");
        let second = Duration::from_secs(1);
        let short = timetable.clone().beginning_within(second);
        assert_eq!((gaps(&short)[0], &gaps(&short)[1..]), (second, &gaps(&timetable)[1..]));
        let urban = Timetable::of(&Profile::URBAN, 1, HOUR);
        assert_eq!(urban.clone().beginning_within(second), urban);
    }

    #[test]
    fn ports_and_sim_cards_change_at_their_times() {
        let hostile = Timetable::of(&Profile::HOSTILE, 1, HOUR);
        assert_eq!(count(&hostile, &Event::Ports), 119);
        let dual = Timetable::of(&Profile::DUAL, 1, HOUR);
        let radios: Vec<_> = dual.events().iter().filter(|(_, event)| matches!(event, Event::Radio(_))).collect();
        assert_eq!(radios.len(), 179);
        assert!(radios.windows(2).all(|pair| pair[0].1 != pair[1].1));
    }
}
