-- A bank, invented, for tests/corpus/policy.yaml. Regulated are customers.ssn, customers.account_number, accounts.account_number and
-- accounts.routing_number.
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, ssn text, account_number text,
  balance numeric NOT NULL DEFAULT 0 CHECK (balance >= 0), branch text);
INSERT INTO customers SELECT i, 'Customer ' || i, 'c' || i || '@bank.test', format('%s-%s-%s', 300 + i, 10 + i % 80, 1000 + i),
  (7000000000000000 + i)::text, i * 25, (ARRAY['NY', 'SF', 'LA'])[1 + i % 3] FROM generate_series(1, 40) i;
CREATE TABLE accounts (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers ON DELETE CASCADE, account_number text,
  routing_number text, kind text);
INSERT INTO accounts SELECT id, id, account_number, '026009593', 'savings' FROM customers;
CREATE TABLE branches (code text PRIMARY KEY, name text, city text DEFAULT 'somewhere');
INSERT INTO branches VALUES ('NY', 'Broadway'), ('SF', 'Mission'), ('LA', 'Sunset');
CREATE TABLE orders (id serial PRIMARY KEY, customer_id int REFERENCES customers, total numeric, placed date, status text,
  "delete" boolean NOT NULL DEFAULT false, "drop table" text);
INSERT INTO orders (customer_id, total, placed, status)
  SELECT 1 + i % 40, i, date '2024-01-01' + i, CASE WHEN i % 2 = 0 THEN 'open' ELSE 'done' END FROM generate_series(1, 60) i;
CREATE TABLE audit_log (id serial PRIMARY KEY, what text, at timestamptz DEFAULT now());
INSERT INTO audit_log (what) SELECT 'begin ' || i FROM generate_series(1, 5) i;
CREATE TABLE drafts (id int, body text);
INSERT INTO drafts VALUES (1, 'a'), (2, NULL);

-- Partitions, inheritance.
CREATE TABLE events (id int, kind text NOT NULL, body text) PARTITION BY LIST (kind);
CREATE TABLE events_login PARTITION OF events FOR VALUES IN ('login');
CREATE TABLE events_trade PARTITION OF events FOR VALUES IN ('trade');
INSERT INTO events SELECT i, CASE WHEN i % 2 = 0 THEN 'login' ELSE 'trade' END, 'event ' || i FROM generate_series(1, 10) i;
CREATE TABLE places (id int, name text);
CREATE TABLE towns (people int) INHERITS (places);
INSERT INTO places VALUES (1, 'hill');
INSERT INTO towns VALUES (2, 'bank', 9);

-- Views.
CREATE VIEW v_customers AS SELECT id, name, ssn FROM customers;
CREATE VIEW v_open AS SELECT id, customer_id, total FROM orders WHERE status = 'open';
CREATE MATERIALIZED VIEW m_totals AS SELECT customer_id, sum(total) AS total FROM orders GROUP BY 1;

-- Code that does more than it seems.
CREATE FUNCTION order_total(int) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT sum(total) FROM orders WHERE customer_id = $1';
CREATE FUNCTION all_ssns() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT ssn FROM customers';
CREATE FUNCTION purge() RETURNS int LANGUAGE sql VOLATILE AS 'DELETE FROM audit_log; SELECT 1';
CREATE FUNCTION purge_plpgsql() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM audit_log; RETURN 1; END $$;
CREATE FUNCTION purge_one(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM audit_log WHERE id = $1; RETURN 1; END $$;
CREATE FUNCTION by_name(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DELETE FROM ' || quote_ident($1); RETURN 1; END $$;
CREATE FUNCTION add_tax(numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1 * 1.2; END $$;
CREATE PROCEDURE close_day() LANGUAGE sql AS 'UPDATE orders SET status = ''done''';
CREATE PROCEDURE note(text) LANGUAGE sql AS 'INSERT INTO audit_log (what) VALUES ($1)';
CREATE VIEW v_purge AS SELECT purge() AS done;
CREATE TABLE jobs (id int, cost int DEFAULT purge());
CREATE FUNCTION purge_op(int, int) RETURNS boolean LANGUAGE sql AS 'DELETE FROM audit_log; SELECT $1 = $2';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = purge_op);
CREATE TYPE money_t AS (cents int);
CREATE FUNCTION money_text(money_t) RETURNS text LANGUAGE sql AS 'DELETE FROM audit_log; SELECT ''x''::text';
CREATE CAST (money_t AS text) WITH FUNCTION money_text(money_t);
CREATE FUNCTION purge_step(int, int) RETURNS int LANGUAGE sql AS 'DELETE FROM audit_log; SELECT $1 + $2';
CREATE AGGREGATE total_of(int) (SFUNC = purge_step, STYPE = int, INITCOND = '0');
CREATE TABLE inbox (id int, body text);
CREATE RULE inbox_clean AS ON INSERT TO inbox DO ALSO DELETE FROM audit_log;
CREATE FUNCTION on_draft() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM audit_log; RETURN NEW; END $$;
CREATE TRIGGER drafts_updated BEFORE UPDATE ON drafts FOR EACH ROW EXECUTE FUNCTION on_draft();
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit_log (what) VALUES ('branch ' || NEW.code); RETURN NEW; END $$;
CREATE TRIGGER branches_stamped AFTER INSERT ON branches FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE SCHEMA shadow;
CREATE FUNCTION shadow.upper(text) RETURNS text LANGUAGE sql AS 'DELETE FROM public.audit_log; SELECT $1';
CREATE VIEW shadow.branches AS SELECT ssn AS code, name FROM public.customers;

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agent') THEN CREATE ROLE agent LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN CREATE ROLE app LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'repl') THEN CREATE ROLE repl LOGIN REPLICATION; END IF;
END $$;
GRANT USAGE ON SCHEMA public, shadow TO agent;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, shadow TO agent;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO agent;
ANALYZE;
