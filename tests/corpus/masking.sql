-- Customers and accounts, invented, for masking.yaml. Regulated are customers.ssn, customers.account_number, accounts.account_number and
-- accounts.routing_number; customers.id=1 has ssn 536-90-4399.
CREATE TABLE customers(id int PRIMARY KEY, name text NOT NULL, email text, ssn text, account_number text, balance numeric CHECK (balance >= 0), branch text);
INSERT INTO customers VALUES
(1,'Ada Lovelace','ada@example.com','536-90-4399','4000771122334455',1200.50,'NY'),
(2,'Alan Turing','alan@example.com','212-55-8817','4000771122334456',900,'NY'),
(3,'Grace Hopper','grace@example.com','401-73-2264','4000771122334457',15000,'SF'),
(4,'Edsger Dijkstra','edsger@example.com','318-44-9051','4000771122334458',72.10,'SF');
INSERT INTO customers SELECT i,'Person '||i,'p'||i||'@example.com', lpad((100+i*7)::text,3,'0')||'-'||lpad((10+i)::text,2,'0')||'-'||(1000+i*13)::text, (4000771122330000+i)::text, i*10, CASE WHEN i%2=0 THEN 'NY' ELSE 'LA' END FROM generate_series(5,60) i;
CREATE TABLE accounts(id int PRIMARY KEY, customer_id int REFERENCES customers(id) ON DELETE CASCADE, account_number text, routing_number text, kind text);
INSERT INTO accounts SELECT id, id, account_number, '021000021', 'checking' FROM customers;
CREATE TABLE branches(code text PRIMARY KEY, name text);
INSERT INTO branches VALUES ('NY','New York'),('SF','San Francisco'),('LA','Los Angeles');
CREATE TABLE notes(id serial PRIMARY KEY, body text);           -- unmasked scratch table
CREATE VIEW v_customers AS SELECT * FROM customers;
CREATE FUNCTION f_ssn(int) RETURNS text LANGUAGE sql STABLE AS $$ SELECT ssn FROM customers WHERE id = $1 $$;
DO $$ BEGIN
 IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname='agent') THEN CREATE ROLE agent LOGIN; END IF;
 IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname='app') THEN CREATE ROLE app LOGIN; END IF;
 IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname='repl') THEN CREATE ROLE repl LOGIN REPLICATION; END IF;
END $$;
ALTER TABLE customers OWNER TO app; ALTER TABLE accounts OWNER TO app; ALTER TABLE branches OWNER TO app; ALTER TABLE notes OWNER TO app; ALTER VIEW v_customers OWNER TO app;
GRANT CREATE, USAGE ON SCHEMA public TO agent, app;
GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA public TO agent, repl;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO agent;
ANALYZE;
