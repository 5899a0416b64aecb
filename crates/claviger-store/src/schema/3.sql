-- A token may name an actor of another issuer than its subject's. Without a name here it is the same.
ALTER TABLE tokens ADD COLUMN actor_issuer TEXT;
