//! Calls: who is rung, who takes them, signalling, browsers, and media that flows.

mod media;
mod pages;
mod web;
