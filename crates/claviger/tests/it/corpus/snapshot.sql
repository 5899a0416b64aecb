-- The query that digests everything that a database consists of, and what the cluster shares: for each table, its own and the
-- server's, a digest of its rows and their number. Left out is what changes by itself (counters and horizons), and a database's
-- own OID.
SELECT string_agg(format(
  'SELECT %L, md5(coalesce(string_agg(r, chr(10) ORDER BY r), %L)), count(*) FROM (SELECT %s AS r FROM %s t) %I',
  name, '', CASE WHEN own THEN 'ROW(t.*)::text' ELSE format('(to_jsonb(t) - %L::text[])::text', ARRAY[
    'relpages', 'reltuples', 'relallvisible', 'relallfrozen', 'relfrozenxid', 'relminmxid', 'datfrozenxid', 'datminmxid', 'indcheckxmin']
    || CASE name WHEN 'pg_database' THEN ARRAY['oid'] WHEN 'pg_shdepend' THEN ARRAY['dbid'] ELSE '{}'::text[] END) END, name, name),
  ' UNION ALL ')
FROM (
  SELECT c.oid::regclass::text AS name, c.oid::regclass::text NOT IN ('pg_class', 'pg_database', 'pg_index', 'pg_shdepend') AS own
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
    AND c.oid::regclass::text NOT IN ('pg_statistic', 'pg_statistic_ext_data')
  UNION ALL VALUES ('pg_file_settings', true), ('pg_prepared_xacts', true)
) all_of_it
