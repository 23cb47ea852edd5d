//! What Nomation is about, free of HTTP and SQL statements: [`user`], [`project`], the
//! language of tests ([`step`]), and the rules that the three secrets of a login follow
//! ([`password`], [`token`]).
//!
//! Values are parsed, not checked: an [`Email`](user::Email) can only come from
//! [`Email::parse`](user::Email::parse) or from the database, so nothing below the HTTP layer
//! validates again. Entities derive their row and their JSON here, because a second copy of the
//! same fields would only be a place to forget one.

pub mod password;
pub mod project;
pub mod step;
pub mod text;
pub mod timestamp;
pub mod token;
pub mod user;
