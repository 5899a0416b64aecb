-- Differs whenever anything that a Catalog is read from may have changed: every row of the server's catalogs has another
-- transaction (xmin) when it is new or changed, and another place (ctid) when the same transaction has changed it again, and is missed in
-- the sum when it is gone. What came with the server is left out where
-- there is much of it. Written in full, like question.sql.
select array[
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_namespace c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_class c
        where c.relkind operator(pg_catalog.=) any (array['r', 'p', 'v', 'm', 'f', 'S', 'c']::pg_catalog."char"[])),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.attrelid, c.attnum, c.xmin, c.ctid), 0)) from pg_catalog.pg_attribute c
        where c.attrelid operator(pg_catalog.>=) 12000::pg_catalog.oid and c.attnum operator(pg_catalog.>) 0::pg_catalog.int2),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_attrdef c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_proc c
        where c.oid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.aggfnoid::pg_catalog.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_aggregate c
        where c.aggfnoid::pg_catalog.oid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_operator c
        where c.oid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_cast c
        where c.oid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_type c
        where c.oid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.rngtypid, c.xmin, c.ctid), 0)) from pg_catalog.pg_range c
        where c.rngtypid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_constraint c
        where c.oid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.indexrelid, c.xmin, c.ctid), 0)) from pg_catalog.pg_index c
        where c.indrelid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.inhrelid, c.inhseqno, c.xmin, c.ctid), 0)) from pg_catalog.pg_inherits c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.partrelid, c.xmin, c.ctid), 0)) from pg_catalog.pg_partitioned_table c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_trigger c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_event_trigger c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_rewrite c
        where c.oid operator(pg_catalog.>=) 12000::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_policy c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_language c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin, c.ctid), 0)) from pg_catalog.pg_extension c),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(c.objid, c.refobjid, c.xmin, c.ctid), 0)) from pg_catalog.pg_depend c
        where c.refclassid operator(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid),
    (select pg_catalog.sum(pg_catalog.hash_record_extended(row(r.oid, r.rolname), 0)) from pg_catalog.pg_roles r)
]::pg_catalog.text
