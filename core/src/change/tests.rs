//! What honest writers write always passes; what attackers write is refused for the reason it deserves.

mod honest;
mod hostile;
pub(crate) mod team;
