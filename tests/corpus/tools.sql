-- What programs ask of the demo's bank: dashboards, libraries that write SQL for objects, and clients that look around.
--
-- As in analyst.sql; `takes` are parameters of a prepared statement.

-- # Metabase

-- metabase-table: masks email, phone, ssn, date_of_birth
SELECT "public"."customers"."id" AS "id", "public"."customers"."name" AS "name", "public"."customers"."email" AS "email", "public"."customers"."phone" AS "phone", "public"."customers"."ssn" AS "ssn", "public"."customers"."date_of_birth" AS "date_of_birth", "public"."customers"."branch" AS "branch", "public"."customers"."created_at" AS "created_at" FROM "public"."customers" LIMIT 1000;
-- metabase-count-by-branch
SELECT "public"."customers"."branch" AS "branch", COUNT(*) AS "count" FROM "public"."customers" GROUP BY "public"."customers"."branch" ORDER BY "public"."customers"."branch" ASC;
-- metabase-by-month
SELECT DATE_TRUNC('month', "public"."transactions"."at") AS "at", SUM("public"."transactions"."amount") AS "sum" FROM "public"."transactions" WHERE "public"."transactions"."at" >= timestamp with time zone '2025-01-01 00:00:00.000Z' AND "public"."transactions"."at" < timestamp with time zone '2026-01-01 00:00:00.000Z' GROUP BY DATE_TRUNC('month', "public"."transactions"."at") ORDER BY DATE_TRUNC('month', "public"."transactions"."at") ASC;
-- metabase-join: masks account_number
SELECT "source"."id" AS "id", "source"."account_number" AS "account_number", "source"."balance" AS "balance", "Customers"."name" AS "Customers__name" FROM (SELECT "public"."accounts"."id" AS "id", "public"."accounts"."account_number" AS "account_number", "public"."accounts"."balance" AS "balance", "public"."accounts"."customer_id" AS "customer_id" FROM "public"."accounts") AS "source" LEFT JOIN "public"."customers" AS "Customers" ON "source"."customer_id" = "Customers"."id" WHERE "source"."balance" > 20000 LIMIT 50;
-- metabase-nested-question
SELECT "source"."kind" AS "kind", SUM("source"."balance") AS "sum" FROM (SELECT "public"."accounts"."id" AS "id", "public"."accounts"."account_number" AS "account_number", "public"."accounts"."kind" AS "kind", "public"."accounts"."balance" AS "balance" FROM "public"."accounts" WHERE "public"."accounts"."balance" > 100) AS "source" GROUP BY "source"."kind" ORDER BY "sum" DESC, "source"."kind" ASC;
-- metabase-distinct-values: masks phone
SELECT "public"."customers"."phone" AS "phone" FROM "public"."customers" GROUP BY "public"."customers"."phone" LIMIT 20;
-- metabase-fingerprint
SELECT SUBSTRING("public"."transactions"."merchant", 1, 1234) AS "substring1" FROM "public"."transactions" ORDER BY "public"."transactions"."id" LIMIT 100;
-- metabase-bins
SELECT FLOOR(("public"."accounts"."balance" / 5000.0)) * 5000.0 AS "balance", COUNT(*) AS "count" FROM "public"."accounts" GROUP BY FLOOR(("public"."accounts"."balance" / 5000.0)) * 5000.0 ORDER BY FLOOR(("public"."accounts"."balance" / 5000.0)) * 5000.0 ASC;
-- metabase-count-per-account-number: masks account_number
SELECT "Accounts"."account_number" AS "account_number", COUNT(*) AS "count", SUM("public"."transactions"."amount") AS "sum" FROM "public"."transactions" LEFT JOIN "public"."accounts" AS "Accounts" ON "public"."transactions"."account_id" = "Accounts"."id" GROUP BY "Accounts"."account_number" ORDER BY "sum" DESC LIMIT 10;
-- metabase-parameter: takes NYC; masks email
SELECT "public"."customers"."name" AS "name", "public"."customers"."email" AS "email" FROM "public"."customers" WHERE "public"."customers"."branch" = $1 ORDER BY "public"."customers"."id" LIMIT 2000;
-- metabase-distinct-count
SELECT "public"."accounts"."kind" AS "kind", COUNT(DISTINCT "public"."accounts"."customer_id") AS "count" FROM "public"."accounts" GROUP BY "public"."accounts"."kind" ORDER BY "count" DESC;
-- metabase-cumulative
SELECT "source"."at" AS "at", SUM("source"."count") OVER (ORDER BY "source"."at" ASC ROWS UNBOUNDED PRECEDING) AS "count" FROM (SELECT CAST("public"."transactions"."at" AS date) AS "at", COUNT(*) AS "count" FROM "public"."transactions" WHERE "public"."transactions"."at" < '2024-02-01' GROUP BY CAST("public"."transactions"."at" AS date)) AS "source" ORDER BY "source"."at" ASC;

-- # Superset

-- superset-explore
SELECT DATE_TRUNC('day', at) AS __timestamp, merchant AS merchant, sum(amount) AS "SUM(amount)" FROM public.transactions JOIN (SELECT merchant AS merchant__, sum(amount) AS mme_inner__ FROM public.transactions WHERE at >= '2025-12-01 00:00:00.000000' AND at < '2026-01-01 00:00:00.000000' GROUP BY merchant ORDER BY mme_inner__ DESC LIMIT 5) AS series_limit ON merchant = merchant__ WHERE at >= '2025-12-01 00:00:00.000000' AND at < '2026-01-01 00:00:00.000000' GROUP BY DATE_TRUNC('day', at), merchant ORDER BY "SUM(amount)" DESC LIMIT 1000;
-- superset-virtual-dataset
SELECT state AS state, count(*) AS count FROM (select c.id, c.name, b.state, a.balance from customers c join branches b on b.code = c.branch join accounts a on a.customer_id = c.id) AS virtual_table WHERE balance > 1000 GROUP BY state ORDER BY count DESC LIMIT 10000;
-- superset-samples: masks account_number; finds routing_number
SELECT id AS id, customer_id AS customer_id, account_number AS account_number, routing_number AS routing_number, kind AS kind, balance AS balance FROM public.accounts LIMIT 1000 OFFSET 0;
-- superset-filter-values
SELECT DISTINCT kind AS kind FROM public.accounts LIMIT 10000;
-- superset-masked-filter-values: masks email
SELECT DISTINCT email AS email FROM public.customers LIMIT 100;
-- superset-big-number
SELECT count(DISTINCT email) AS "COUNT_DISTINCT(email)" FROM public.customers LIMIT 50000;
-- superset-table-by-account: masks account_number
SELECT account_number AS account_number, kind AS kind, sum(balance) AS "SUM(balance)" FROM public.accounts GROUP BY account_number, kind ORDER BY "SUM(balance)" DESC LIMIT 100;
-- superset-pivot
SELECT branch AS branch, EXTRACT(year FROM created_at) AS year, count(*) AS count FROM public.customers GROUP BY branch, EXTRACT(year FROM created_at) ORDER BY count DESC, branch, year LIMIT 50;
-- superset-virtual-by-masked: masks account_number
SELECT account_number AS account_number, sum(amount) AS s FROM (select a.account_number, t.amount, t.at from accounts a join transactions t on t.account_id = a.id) AS virtual_table WHERE at >= '2025-06-01' GROUP BY account_number ORDER BY s DESC LIMIT 20;

-- # Tableau, Power BI, Looker

-- tableau-connect
SELECT 1 AS "COL" FROM "public"."accounts" "accounts" LIMIT 1;
-- tableau-aggregate
SELECT "accounts"."kind" AS "kind", SUM("accounts"."balance") AS "sum:balance:ok", AVG("accounts"."balance") AS "avg:balance:ok" FROM "public"."accounts" "accounts" INNER JOIN "public"."customers" "customers" ON ("accounts"."customer_id" = "customers"."id") WHERE (NOT ("customers"."branch" IN ('NYC', 'LAX'))) GROUP BY 1 ORDER BY 1;
-- tableau-dates
SELECT DATE_TRUNC('QUARTER', CAST("transactions"."at" AS DATE)) AS "tqr:at:ok", SUM(("transactions"."amount" * 1.0)) AS "sum" FROM "public"."transactions" "transactions" GROUP BY 1 ORDER BY 1;
-- tableau-having
SELECT "customers"."name" AS "name", SUM(1) AS "cnt:accounts:ok" FROM "public"."accounts" "accounts" LEFT JOIN "public"."customers" "customers" ON ("accounts"."customer_id" = "customers"."id") GROUP BY 1 HAVING (SUM(1) >= 6) ORDER BY 2 DESC, 1;
-- tableau-set
SELECT "customers"."branch" AS "branch", COUNT("customers"."id") AS "cnt" FROM "public"."customers" "customers" INNER JOIN (SELECT "customers"."branch" AS "branch", COUNT(1) AS "$__alias__0" FROM "public"."customers" "customers" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5) "t0" ON ("customers"."branch" = "t0"."branch") GROUP BY 1 ORDER BY 1;
-- powerbi-folded
select "_"."branch" as "branch", "_"."a0" as "a0" from (select "rows"."branch" as "branch", count(1) as "a0" from (select "branch", "id" from "public"."customers" "$Table") "rows" group by "branch") "_" where not "_"."a0" is null order by "branch" limit 1000001;
-- powerbi-rows: masks email
select "$Table"."id" as "id", "$Table"."name" as "name", "$Table"."email" as "email" from "public"."customers" "$Table" where "$Table"."id" >= 10 and "$Table"."id" < 20 order by "$Table"."id" limit 501;
-- looker-pivot
SELECT * FROM (SELECT *, DENSE_RANK() OVER (ORDER BY z___min_rank) as z___pivot_row_rank FROM (SELECT *, MIN(z___rank) OVER (PARTITION BY "kind") as z___min_rank FROM (SELECT *, RANK() OVER (ORDER BY "kind" ASC) AS z___rank FROM (SELECT accounts.kind AS "kind", COUNT(*) AS "n" FROM public.accounts AS accounts GROUP BY 1) ww) bb) cc) aa ORDER BY "kind";
-- looker-measure
SELECT COALESCE(SUM(accounts.balance), 0) AS "accounts.total_balance", COUNT(DISTINCT customers.id) AS "customers.count" FROM public.accounts AS accounts LEFT JOIN public.customers AS customers ON accounts.customer_id = customers.id WHERE ((accounts.opened_at >= TIMESTAMP '2020-01-01') AND (accounts.opened_at < TIMESTAMP '2021-01-01')) FETCH NEXT 500 ROWS ONLY;
-- grafana
SELECT floor(extract(epoch from at)/86400)*86400 AS "time", count(*) AS "value" FROM transactions WHERE at BETWEEN '2025-12-20T00:00:00Z' AND '2025-12-31T23:59:59Z' GROUP BY 1 ORDER BY 1;
-- cube-js
SELECT "accounts".kind "accounts__kind", count("accounts".id) "accounts__count" FROM public.accounts AS "accounts" GROUP BY 1 ORDER BY 2 DESC LIMIT 10000;

-- # Libraries that write SQL for objects

-- django-get: masks email, phone, ssn, date_of_birth; takes 17
SELECT "customers"."id", "customers"."name", "customers"."email", "customers"."phone", "customers"."ssn", "customers"."date_of_birth", "customers"."branch", "customers"."created_at" FROM "customers" WHERE "customers"."id" = $1 LIMIT 21;
-- django-select-related: masks account_number, email
SELECT "accounts"."id", "accounts"."account_number", "accounts"."balance", T3."id", T3."name", T3."email" FROM "accounts" INNER JOIN "customers" T3 ON ("accounts"."customer_id" = T3."id") WHERE T3."branch" = 'NYC' ORDER BY "accounts"."id" ASC LIMIT 20;
-- django-annotate: masks email
SELECT "customers"."id", "customers"."name", "customers"."email", COUNT("accounts"."id") AS "num_accounts" FROM "customers" LEFT OUTER JOIN "accounts" ON ("customers"."id" = "accounts"."customer_id") GROUP BY "customers"."id" HAVING COUNT("accounts"."id") > 4 ORDER BY "num_accounts" DESC, "customers"."id" ASC LIMIT 10;
-- django-exists
SELECT (1) AS "a" FROM "customers" WHERE "customers"."name" LIKE 'Alice%' LIMIT 1;
-- django-count-subquery
SELECT COUNT(*) FROM (SELECT DISTINCT "customers"."branch" AS "col1" FROM "customers") subquery;
-- django-icontains: masks email
SELECT "customers"."id", "customers"."email" FROM "customers" WHERE UPPER("customers"."name"::text) LIKE UPPER('%garcia%') ORDER BY "customers"."id" LIMIT 10;
-- django-distinct-masked: masks email
SELECT DISTINCT "customers"."id", "customers"."name", "customers"."email" FROM "customers" INNER JOIN "accounts" ON ("customers"."id" = "accounts"."customer_id") WHERE "accounts"."kind" = 'credit' ORDER BY "customers"."name" ASC, "customers"."id" ASC LIMIT 25;
-- django-values-annotate: masks account_number
SELECT "accounts"."account_number", COUNT("transactions"."id") AS "n" FROM "accounts" LEFT OUTER JOIN "transactions" ON ("accounts"."id" = "transactions"."account_id") GROUP BY "accounts"."account_number" ORDER BY "n" DESC LIMIT 5;
-- rails-find: masks email, phone, ssn, date_of_birth; takes 5, 1
SELECT "customers".* FROM "customers" WHERE "customers"."id" = $1 LIMIT $2;
-- rails-includes: masks account_number; finds routing_number
SELECT "accounts".* FROM "accounts" WHERE "accounts"."customer_id" IN (1, 2, 3, 4) ORDER BY "accounts"."id" ASC;
-- rails-pluck: masks email
SELECT "customers"."email" FROM "customers" WHERE "customers"."branch" = 'BUF' ORDER BY "customers"."id" ASC LIMIT 10;
-- rails-exists
SELECT 1 AS one FROM "accounts" WHERE "accounts"."kind" = 'credit' LIMIT 1;
-- rails-sum-group
SELECT SUM("accounts"."balance") AS "sum_balance", "accounts"."kind" AS "accounts_kind" FROM "accounts" GROUP BY "accounts"."kind";
-- rails-distinct-eager
SELECT DISTINCT "customers"."id", "customers"."created_at" AS alias_0 FROM "customers" LEFT OUTER JOIN "accounts" ON "accounts"."customer_id" = "customers"."id" WHERE "accounts"."balance" > 24000 ORDER BY "customers"."created_at" DESC, "customers"."id" LIMIT 3;
-- hibernate-entity: masks email1_0, ssn1_0; takes 44
select c1_0.id as id1_0, c1_0.name as name1_0, c1_0.email as email1_0, c1_0.ssn as ssn1_0 from customers c1_0 where c1_0.id=$1;
-- hibernate-collection: masks account_2_0; takes 44
select a1_0.customer_id as custom1_0, a1_0.id as id1_0, a1_0.account_number as account_2_0, a1_0.balance as balance3_0 from accounts a1_0 where a1_0.customer_id=$1 order by a1_0.id;
-- hibernate-page: takes 10, 20; masks email
select c1_0.id, c1_0.name, c1_0.email from customers c1_0 order by c1_0.id offset $1 rows fetch first $2 rows only;
-- hibernate-count
select count(c1_0.id) from customers c1_0 where exists(select 1 from accounts a1_0 where c1_0.id=a1_0.customer_id and a1_0.kind='savings');
-- sqlalchemy-orm: masks customers_email, accounts_1_account_number
SELECT customers.id AS customers_id, customers.name AS customers_name, customers.email AS customers_email, accounts_1.id AS accounts_1_id, accounts_1.account_number AS accounts_1_account_number FROM customers LEFT OUTER JOIN accounts AS accounts_1 ON customers.id = accounts_1.customer_id WHERE customers.id IN (11, 12) ORDER BY customers.id, accounts_1.id;
-- sqlalchemy-anon
SELECT anon_1.branch, anon_1.n FROM (SELECT customers.branch AS branch, count(customers.id) AS n FROM customers GROUP BY customers.branch) AS anon_1 WHERE anon_1.n > 170 ORDER BY anon_1.n DESC, anon_1.branch;
-- sqlalchemy-cast-parameters: takes 3; masks account_number
SELECT accounts.id, accounts.account_number FROM accounts WHERE accounts.customer_id = $1::INTEGER ORDER BY accounts.id;
-- sqlalchemy-window
SELECT anon_1.id, anon_1.balance FROM (SELECT accounts.id AS id, accounts.balance AS balance, row_number() OVER (PARTITION BY accounts.kind ORDER BY accounts.balance DESC, accounts.id) AS rn FROM accounts) AS anon_1 WHERE anon_1.rn <= 2 ORDER BY anon_1.balance DESC, anon_1.id;
-- pandas-read-sql: masks card_number
SELECT t.id, t.at, t.amount, t.merchant, t.card_number FROM transactions t WHERE 1=1 AND t.at >= '2025-12-25' AND t.merchant = 'Noodle House' ORDER BY t.at;
-- pandas-where-true
SELECT branch, count(*) AS n FROM customers WHERE TRUE AND (branch = 'NYC' OR 'all' = 'NYC') GROUP BY branch;
-- prisma: masks email; takes 30
SELECT "public"."customers"."id", "public"."customers"."name", "public"."customers"."email" FROM "public"."customers" WHERE ("public"."customers"."id" = $1 AND 1=1) LIMIT 1 OFFSET 0;
-- typeorm: masks c_email
SELECT "c"."id" AS "c_id", "c"."name" AS "c_name", "c"."email" AS "c_email" FROM "customers" "c" WHERE "c"."branch" = 'OAK' AND ("c"."id") IN (SELECT "a"."customer_id" FROM "accounts" "a" WHERE "a"."balance" > 20000) ORDER BY "c"."id" ASC LIMIT 10;
-- knex-union
select * from (select "id", 'customer' as "what" from "customers" where "id" < 3 union all select "id", 'account' as "what" from "accounts" where "id" < 3) as "both" order by "what", "id";
-- jooq-seek
select "public"."accounts"."id", "public"."accounts"."balance" from "public"."accounts" where ("public"."accounts"."balance", "public"."accounts"."id") < (9000, 0) order by "public"."accounts"."balance" desc, "public"."accounts"."id" desc fetch next 10 rows only;
-- postgrest: masks body
WITH pgrst_source AS (SELECT "public"."customers"."id", "public"."customers"."email" FROM "public"."customers" WHERE "public"."customers"."id" < 4 ORDER BY "public"."customers"."id" LIMIT 10) SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, coalesce(json_agg(_postgrest_t), '[]') AS body FROM (SELECT * FROM pgrst_source) _postgrest_t;
-- hasura
SELECT coalesce(json_agg("root"), '[]') AS "root" FROM (SELECT row_to_json((SELECT "_e" FROM (SELECT "_root.base"."code" AS "code", "_root.base"."name" AS "name") AS "_e")) AS "root" FROM (SELECT * FROM "public"."branches" WHERE (("public"."branches"."state") = (('TX')::text))) AS "_root.base") AS "_root";
-- dbt-test
select count(*) as failures, count(*) != 0 as should_warn, count(*) != 0 as should_error from (select account_number as unique_field, count(*) as n_records from public.accounts where account_number is not null group by account_number having count(*) > 1) dbt_internal_test;
-- dbt-relationships
select count(*) as failures from (with child as (select customer_id as from_field from public.accounts where customer_id is not null), parent as (select id as to_field from public.customers) select from_field from child left join parent on child.from_field = parent.to_field where parent.to_field is null) dbt_internal_test;
-- great-expectations
SELECT count(*) AS "table.row_count", sum(CASE WHEN (email IS NULL) THEN 1 ELSE 0 END) AS "column_values.nonnull.unexpected_count" FROM public.customers;
-- soda-profile
SELECT COUNT(*), COUNT(CASE WHEN card_number IS NULL THEN 1 END), MIN(amount), MAX(amount), AVG(amount), STDDEV(amount) FROM public.transactions;

-- # Cursors and prepared statements

-- cursor: masks email
BEGIN; DECLARE "py_1" NO SCROLL CURSOR FOR SELECT id, name, email FROM customers WHERE id <= 5 ORDER BY id; FETCH FORWARD 3 FROM "py_1"; FETCH ALL FROM "py_1"; CLOSE "py_1"; COMMIT;
-- cursor-with-hold
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT kind, count(*) FROM accounts GROUP BY kind ORDER BY kind; COMMIT; FETCH 2 FROM c; CLOSE c;
-- cursor-grouped: masks account_number
BEGIN; DECLARE g CURSOR FOR SELECT a.account_number, count(*) AS n FROM accounts a JOIN transactions t ON t.account_id = a.id WHERE a.id < 30 GROUP BY a.account_number ORDER BY n DESC; FETCH 10 FROM g; ROLLBACK;
-- prepare-execute: masks email
PREPARE by_id(int) AS SELECT id, name, email FROM customers WHERE id = $1; EXECUTE by_id(9); DEALLOCATE by_id;
-- transaction-read-only
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM customers; COMMIT;
-- set-and-select
SET statement_timeout = 60000; SELECT kind FROM accounts WHERE id = 1; RESET statement_timeout;
-- copy-out
COPY (SELECT code, name, state FROM branches ORDER BY code) TO STDOUT WITH CSV HEADER;
-- explain-analyze-like
EXPLAIN (COSTS OFF) SELECT c.name, a.balance FROM customers c JOIN accounts a ON a.customer_id = c.id WHERE c.id = 7;
-- show-all-like
SELECT name, setting FROM pg_settings WHERE name IN ('server_version_num', 'DateStyle', 'TimeZone') ORDER BY name;

-- # Clients that look around

-- psql-d
SELECT n.nspname as "Schema", c.relname as "Name", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as "Type", pg_catalog.pg_get_userbyid(c.relowner) as "Owner" FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.relkind IN ('r','p','v','m','S','f','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;
-- psql-d-table
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation, a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'customers'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
-- psql-d-indexes
SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true), pg_catalog.pg_get_constraintdef(con.oid, true), contype, condeferrable, condeferred, i.indisreplident, c2.reltablespace FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x')) WHERE c.oid = 'customers'::regclass AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname;
-- psql-l
SELECT d.datname as "Name", pg_catalog.pg_get_userbyid(d.datdba) as "Owner", pg_catalog.pg_encoding_to_char(d.encoding) as "Encoding" FROM pg_catalog.pg_database d WHERE d.datname = current_database() ORDER BY 1;
-- psql-df
SELECT n.nspname as "Schema", p.proname as "Name", pg_catalog.pg_get_function_result(p.oid) as "Result data type" FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE pg_catalog.pg_function_is_visible(p.oid) AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ORDER BY 1, 2;
-- jdbc-tables
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN 'SYSTEM TABLE' ELSE 'TABLE' END AS TABLE_TYPE, d.description AS REMARKS FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 and d.classoid = 'pg_class'::regclass) WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND n.nspname = 'public' ORDER BY TABLE_TYPE, TABLE_SCHEM, TABLE_NAME;
-- jdbc-columns
SELECT * FROM (SELECT current_database() AS current_database, n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull, a.atttypmod, a.attlen, t.typtypmod, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity, pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc, dsc.description, t.typbasetype, t.typtype FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid = c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid = def.adrelid AND a.attnum = def.adnum) LEFT JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped AND n.nspname LIKE 'public' AND c.relname LIKE 'accounts') c WHERE true ORDER BY nspname, c.relname, attnum;
-- jdbc-primary-keys
SELECT result.TABLE_NAME, result.COLUMN_NAME, result.KEY_SEQ, result.PK_NAME FROM (SELECT ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME, information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE true AND n.nspname = 'public' AND ct.relname = 'accounts' AND i.indisprimary) result WHERE result.A_ATTNUM = (result.KEYS).x ORDER BY result.table_name, result.pk_name, result.key_seq;
-- dbeaver-relations
SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass WHERE c.relnamespace='public'::regnamespace AND c.relkind not in ('i','I','c') ORDER BY c.oid;
-- dbeaver-constraints
SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, case when c.contype='c' then substring(pg_get_constraintdef(c.oid), 7) else null end consrc_copy FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass WHERE c.conrelid='accounts'::regclass ORDER BY c.oid;
-- dbeaver-attributes
SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.oid='branches'::regclass ORDER BY a.attnum;
-- dbeaver-sizes
select c.oid, pg_catalog.pg_total_relation_size(c.oid) as total_rel_size, pg_catalog.pg_relation_size(c.oid) as rel_size FROM pg_class c WHERE c.relnamespace='public'::regnamespace ORDER BY c.oid;
-- sqlalchemy-has-table: takes customers
SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = $1::VARCHAR AND pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != 'pg_catalog';
-- metabase-sync-privileges
with table_privileges as (select NULL as role, t.schemaname as schema, t.objectname as table, pg_catalog.has_any_column_privilege(current_user, '"' || t.schemaname || '"' || '.' || '"' || t.objectname || '"', 'update') as update, pg_catalog.has_any_column_privilege(current_user, '"' || t.schemaname || '"' || '.' || '"' || t.objectname || '"', 'select') as select from (select schemaname, tablename as objectname from pg_catalog.pg_tables union select schemaname, viewname as objectname from pg_views union select schemaname, matviewname as objectname from pg_matviews) t where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema') select t.* from table_privileges t order by 3;
-- metabase-sync-fields
SELECT c.column_name AS name, c.udt_name AS "database-type", c.ordinal_position - 1 AS "database-position", c.table_schema AS "table-schema", c.table_name AS "table-name", pk.column_name IS NOT NULL AS "pk?", col_description(CAST(CAST(format('%I.%I', CAST(c.table_schema AS TEXT), CAST(c.table_name AS TEXT)) AS REGCLASS) AS OID), c.ordinal_position) AS "field-comment" FROM information_schema.columns AS c LEFT JOIN (SELECT tc.table_schema, tc.table_name, kc.column_name FROM information_schema.table_constraints AS tc INNER JOIN information_schema.key_column_usage AS kc ON (tc.constraint_name = kc.constraint_name) AND (tc.table_schema = kc.table_schema) AND (tc.table_name = kc.table_name) WHERE tc.constraint_type = 'PRIMARY KEY') AS pk ON (c.table_schema = pk.table_schema) AND (c.table_name = pk.table_name) AND (c.column_name = pk.column_name) WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' ORDER BY "table-schema" ASC, "table-name" ASC, "database-position" ASC;
-- django-introspection
SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1;
-- rails-introspection
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity AS identity, attgenerated as attgenerated FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"accounts"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
-- npgsql-types
SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (SELECT typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, typ.relkind, elemtyp.oid AS elemtypoid FROM (SELECT typ.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem, CASE WHEN proc.proname='array_recv' THEN 'a' ELSE typ.typtype END AS typtype FROM pg_type AS typ LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid) LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive) AS typ LEFT JOIN pg_type AS elemtyp ON elemtyp.oid = typ.typelem) AS t JOIN pg_namespace AS ns ON (ns.oid = typnamespace) WHERE t.typtype IN ('b', 'r', 'm', 'e', 'd') ORDER BY t.oid LIMIT 50;
-- asyncpg-introspect
SELECT t.oid, ns.nspname AS ns, t.typname AS name, t.typtype AS kind FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace ns ON (ns.oid = t.typnamespace) WHERE t.oid = any(array[1184, 1700]::oid[]) ORDER BY t.oid;
-- datagrip-state
select case when pg_catalog.pg_is_in_recovery() then null else (pg_catalog.txid_current() > 0) end as current_txid;
-- table-grants
SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants WHERE table_schema = 'public' AND table_name = 'branches' ORDER BY 1, 2, 3;
-- routines
SELECT routine_name, data_type FROM information_schema.routines WHERE specific_schema = 'public' ORDER BY 1;
-- views-and-sequences
SELECT 'view' AS kind, table_name AS name FROM information_schema.views WHERE table_schema = 'public' UNION ALL SELECT 'sequence', sequence_name FROM information_schema.sequences WHERE sequence_schema = 'public' ORDER BY 1, 2;
