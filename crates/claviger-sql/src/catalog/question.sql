-- What a Catalog is read from: rows of a kind and a JSON object, in no order. For PostgreSQL 15 to 18.
--
-- Every name and every operator is written in full, so that nothing in the search path of whoever asks can answer in its place; what
-- would look up an operator by itself (IN, BETWEEN, NULLIF, CASE x WHEN, IS DISTINCT FROM, JOIN USING) does not occur.
--
-- Columns and types of the server's own, which are most of them, stay as they are: they are left out where not the whole is asked for.
--
-- A text that the server writes out of what it has stored comes with where that is stored: the catalog, the row, which of the
-- row's texts it is, and the version of the row. To write it, the server locks the tables that it is about, and would wait for whoever
-- has locked one exclusively, as TRUNCATE and most of ALTER TABLE do for as long as their transactions last: of such texts, only that
-- is given.
with recursive
asked as (select true as whole),
locks as materialized (
    select l.relation, l.pid, l.mode
    from pg_catalog.pg_locks l
        join pg_catalog.pg_database d on d.oid operator(pg_catalog.=) l.database
            and d.datname operator(pg_catalog.=) pg_catalog.current_database()
    where l.locktype operator(pg_catalog.=) 'relation'::pg_catalog.text
        and (l.granted or l.mode operator(pg_catalog.=) 'AccessExclusiveLock'::pg_catalog.text)
),
-- What others have locked exclusively, or wait to. Whoever has a lock already is not kept waiting by those who wait.
locked as materialized (
    select l.relation
    from locks l
    where l.mode operator(pg_catalog.=) 'AccessExclusiveLock'::pg_catalog.text
        and not exists (select from locks own
            where own.relation operator(pg_catalog.=) l.relation and own.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid())
),
-- What is made of that, by whatever way: of the type of its rows, of a function that returns such, of a view of it.
bound (classid, objid) as (
    select 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, l.relation from locked l
    union
    select d.classid, d.objid
    from bound b join pg_catalog.pg_depend d on d.refclassid operator(pg_catalog.=) b.classid
        and d.refobjid operator(pg_catalog.=) b.objid
),
spaces as (
    select n.oid, n.nspname::pg_catalog.text as name,
        (n.nspname::pg_catalog.text operator(pg_catalog.=) 'pg_catalog'
            or n.nspname::pg_catalog.text operator(pg_catalog.=) 'information_schema') as system
    from pg_catalog.pg_namespace n
),
-- Not what only the server itself names: indexes, and the overflow of long values.
tables as (
    select c.*, n.name as schema, n.system
    from pg_catalog.pg_class c join spaces n on n.oid operator(pg_catalog.=) c.relnamespace
    where c.relkind operator(pg_catalog.=) any (array['r', 'p', 'v', 'm', 'f', 'S', 'c']::pg_catalog."char"[])
),
-- What did not come with the server. A database may be filled by a server that gives away low numbers.
routines as (
    select p.*, p.tableoid, p.xmin, n.name as schema
    from pg_catalog.pg_proc p join spaces n on n.oid operator(pg_catalog.=) p.pronamespace
    where not n.system or p.oid::pg_catalog.int8 operator(pg_catalog.>=) 16384
)

select 'asked' as kind, pg_catalog.json_build_object('whole', k.whole) as facts from asked k

union all select 'path', pg_catalog.json_build_object('path', pg_catalog.current_schemas(true)::pg_catalog.text[])

union all select 'schema', pg_catalog.json_build_object(
    'name', n.name, 'usable', pg_catalog.has_schema_privilege(n.oid, 'USAGE'))
from spaces n

union all select 'relation', pg_catalog.json_build_object(
    'id', c.oid,
    'schema', c.schema,
    'name', c.relname,
    'kind', c.relkind,
    'temporary', c.relpersistence operator(pg_catalog.=) 't'::pg_catalog."char",
    'system', c.system,
    'owner', pg_catalog.pg_get_userbyid(c.relowner),
    'rows', c.reltuples,
    'partitioned_by', (select p.partattrs::pg_catalog.int2[] from pg_catalog.pg_partitioned_table p
        where p.partrelid operator(pg_catalog.=) c.oid))
from tables c

union all select 'column', pg_catalog.json_build_object(
    'relation', a.attrelid, 'number', a.attnum, 'name', a.attname, 'type', a.atttypid, 'not_null', a.attnotnull,
    'generated', a.attgenerated operator(pg_catalog.<>) ''::pg_catalog."char",
    'default', case when not c.system and not exists (select from bound b
            where b.classid operator(pg_catalog.=) d.tableoid and b.objid operator(pg_catalog.=) d.oid)
        then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end,
    'stored', case when not c.system and d.oid is not null
        then array[d.tableoid, d.oid, 0::pg_catalog.oid, d.xmin::pg_catalog.text::pg_catalog.oid] end)
from pg_catalog.pg_attribute a join tables c on c.oid operator(pg_catalog.=) a.attrelid
    left join pg_catalog.pg_attrdef d on d.adrelid operator(pg_catalog.=) a.attrelid and d.adnum operator(pg_catalog.=) a.attnum
where a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
    and ((select k.whole from asked k) or not c.system or c.oid::pg_catalog.int8 operator(pg_catalog.>=) 16384)

union all select 'view', pg_catalog.json_build_object(
    'id', c.oid,
    'definition', case when not exists (select from bound b
            where b.classid operator(pg_catalog.=) r.tableoid and b.objid operator(pg_catalog.=) r.oid)
        then pg_catalog.pg_get_viewdef(c.oid) end,
    'stored', array[r.tableoid, r.oid, 0::pg_catalog.oid, r.xmin::pg_catalog.text::pg_catalog.oid])
from tables c join pg_catalog.pg_rewrite r on r.ev_class operator(pg_catalog.=) c.oid
    and r.ev_type operator(pg_catalog.=) '1'::pg_catalog."char"
where not c.system and c.relkind operator(pg_catalog.=) any (array['v', 'm']::pg_catalog."char"[])

union all select 'child', pg_catalog.json_build_object('id', i.inhrelid, 'parent', i.inhparent)
from pg_catalog.pg_inherits i join tables c on c.oid operator(pg_catalog.=) i.inhrelid

union all select 'trigger', pg_catalog.json_build_object(
    'relation', t.tgrelid, 'name', t.tgname, 'type', t.tgtype, 'function', t.tgfoid,
    'definition', case when t.tgqual is not null and not exists (select from bound b
            where b.classid operator(pg_catalog.=) t.tableoid and b.objid operator(pg_catalog.=) t.oid)
        then pg_catalog.pg_get_triggerdef(t.oid) end,
    'stored', case when t.tgqual is not null then array[t.tableoid, t.oid, 0::pg_catalog.oid, t.xmin::pg_catalog.text::pg_catalog.oid] end)
from pg_catalog.pg_trigger t
where not t.tgisinternal and t.tgenabled operator(pg_catalog.<>) 'D'::pg_catalog."char"

union all select 'event_trigger', pg_catalog.json_build_object('function', e.evtfoid, 'event', e.evtevent, 'tags', e.evttags)
from pg_catalog.pg_event_trigger e
where e.evtenabled operator(pg_catalog.<>) 'D'::pg_catalog."char"

union all select 'rule', pg_catalog.json_build_object(
    'relation', r.ev_class, 'name', r.rulename, 'type', r.ev_type, 'instead', r.is_instead,
    'definition', case when not exists (select from bound b
            where b.classid operator(pg_catalog.=) r.tableoid and b.objid operator(pg_catalog.=) r.oid)
        then pg_catalog.pg_get_ruledef(r.oid) end,
    'stored', array[r.tableoid, r.oid, 0::pg_catalog.oid, r.xmin::pg_catalog.text::pg_catalog.oid])
from pg_catalog.pg_rewrite r join tables c on c.oid operator(pg_catalog.=) r.ev_class
where not c.system and r.ev_enabled operator(pg_catalog.<>) 'D'::pg_catalog."char"
    and r.ev_type operator(pg_catalog.<>) '1'::pg_catalog."char"

union all select 'expression', pg_catalog.json_build_object(
    'relation', e.relation,
    'text', case when not exists (select from bound b
            where b.classid operator(pg_catalog.=) e.class and b.objid operator(pg_catalog.=) e.id)
        then pg_catalog.pg_get_expr(e.tree, e.relation) end,
    'stored', e.stored)
from (
    select k.conrelid as relation, k.conbin as tree, k.tableoid as class, k.oid as id,
        array[k.tableoid, k.oid, 0::pg_catalog.oid, k.xmin::pg_catalog.text::pg_catalog.oid] as stored
    from pg_catalog.pg_constraint k
    where k.contype operator(pg_catalog.=) 'c'::pg_catalog."char" and k.conrelid operator(pg_catalog.<>) 0::pg_catalog.oid
    union all
    select i.indrelid, i.indexprs, 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, i.indexrelid,
        array[i.tableoid, i.indexrelid, 0::pg_catalog.oid, i.xmin::pg_catalog.text::pg_catalog.oid]
    from pg_catalog.pg_index i where i.indexprs is not null
    union all
    select i.indrelid, i.indpred, 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, i.indexrelid,
        array[i.tableoid, i.indexrelid, 1::pg_catalog.oid, i.xmin::pg_catalog.text::pg_catalog.oid]
    from pg_catalog.pg_index i where i.indpred is not null
    union all
    select t.partrelid, t.partexprs, 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, t.partrelid,
        array[t.tableoid, t.partrelid, 0::pg_catalog.oid, t.xmin::pg_catalog.text::pg_catalog.oid]
    from pg_catalog.pg_partitioned_table t where t.partexprs is not null
) e join tables c on c.oid operator(pg_catalog.=) e.relation
where not c.system

union all select 'reference', pg_catalog.json_build_object(
    'relation', k.confrelid, 'name', k.conname, 'from', k.conrelid, 'columns', k.conkey, 'to', k.confkey,
    'on_delete', k.confdeltype, 'on_update', k.confupdtype,
    'inherited', k.conparentid operator(pg_catalog.<>) 0::pg_catalog.oid)
from pg_catalog.pg_constraint k
where k.contype operator(pg_catalog.=) 'f'::pg_catalog."char"

union all select 'policy', pg_catalog.json_build_object(
    'relation', p.relation,
    'text', case when not exists (select from bound b
            where b.classid operator(pg_catalog.=) p.tableoid and b.objid operator(pg_catalog.=) p.oid)
        then pg_catalog.pg_get_expr(p.tree, p.relation) end,
    'stored', p.stored)
from (
    select o.tableoid, o.oid, o.polrelid as relation, o.polqual as tree,
        array[o.tableoid, o.oid, 0::pg_catalog.oid, o.xmin::pg_catalog.text::pg_catalog.oid] as stored
    from pg_catalog.pg_policy o where o.polqual is not null
    union all
    select o.tableoid, o.oid, o.polrelid, o.polwithcheck,
        array[o.tableoid, o.oid, 1::pg_catalog.oid, o.xmin::pg_catalog.text::pg_catalog.oid]
    from pg_catalog.pg_policy o where o.polwithcheck is not null
) p join tables c on c.oid operator(pg_catalog.=) p.relation
where c.relrowsecurity

union all select 'key', pg_catalog.json_build_object(
    'relation', i.indrelid, 'primary', i.indisprimary, 'columns', (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts operator(pg_catalog.-) 1])
from pg_catalog.pg_index i join tables c on c.oid operator(pg_catalog.=) i.indrelid
where not c.system and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null

union all select 'function', pg_catalog.json_build_object(
    'id', p.oid,
    'schema', p.schema,
    'name', p.proname,
    'kind', p.prokind,
    'language', l.lanname,
    'source', p.prosrc,
    'body', case when p.prosqlbody is not null and not exists (select from bound b
            where b.classid operator(pg_catalog.=) p.tableoid and b.objid operator(pg_catalog.=) p.oid)
        then pg_catalog.pg_get_function_sqlbody(p.oid) end,
    'stored', case when p.prosqlbody is not null
        then array[p.tableoid, p.oid, 0::pg_catalog.oid, p.xmin::pg_catalog.text::pg_catalog.oid] end,
    'arguments', p.proargtypes::pg_catalog.oid[],
    'defaults', p.pronargdefaults,
    'default_expressions', case when not exists (select from bound b
            where b.classid operator(pg_catalog.=) p.tableoid and b.objid operator(pg_catalog.=) p.oid)
        then pg_catalog.pg_get_expr(p.proargdefaults, 0::pg_catalog.oid) end,
    'defaults_stored', case when p.proargdefaults is not null
        then array[p.tableoid, p.oid, 1::pg_catalog.oid, p.xmin::pg_catalog.text::pg_catalog.oid] end,
    'variadic', p.provariadic operator(pg_catalog.<>) 0::pg_catalog.oid,
    'names', p.proargnames,
    'modes', p.proargmodes,
    'all_types', p.proallargtypes,
    'returns', p.prorettype,
    'set', p.proretset,
    'volatility', p.provolatile,
    'definer', p.prosecdef,
    'owner', pg_catalog.pg_get_userbyid(p.proowner),
    'settings', p.proconfig,
    'extension', e.extname,
    'parts', case when a.aggfnoid is not null then array[
        a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn
    ]::pg_catalog.oid[] end)
from routines p
    join pg_catalog.pg_language l on l.oid operator(pg_catalog.=) p.prolang
    left join pg_catalog.pg_depend d on d.objid operator(pg_catalog.=) p.oid
        and d.classid operator(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
        and d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
        and d.deptype operator(pg_catalog.=) 'e'::pg_catalog."char"
    left join pg_catalog.pg_extension e on e.oid operator(pg_catalog.=) d.refobjid
    left join pg_catalog.pg_aggregate a on a.aggfnoid::pg_catalog.oid operator(pg_catalog.=) p.oid

union all select 'operator', pg_catalog.json_build_object(
    'schema', n.name, 'name', o.oprname, 'left', o.oprleft, 'right', o.oprright, 'function', o.oprcode::pg_catalog.oid)
from pg_catalog.pg_operator o join spaces n on n.oid operator(pg_catalog.=) o.oprnamespace
where not n.system or o.oid::pg_catalog.int8 operator(pg_catalog.>=) 16384

union all select 'cast', pg_catalog.json_build_object(
    'from', k.castsource, 'to', k.casttarget, 'function', k.castfunc,
    'implicit', k.castcontext operator(pg_catalog.<>) 'e'::pg_catalog."char")
from pg_catalog.pg_cast k
where k.castfunc operator(pg_catalog.<>) 0::pg_catalog.oid
    and (k.oid::pg_catalog.int8 operator(pg_catalog.>=) 16384
        or exists (select from routines p where p.oid operator(pg_catalog.=) k.castfunc))

union all select 'type', pg_catalog.json_build_object(
    'id', t.oid,
    'schema', n.name,
    'name', t.typname,
    'kind', t.typtype,
    'element', case when t.typsubscript::pg_catalog.oid
        operator(pg_catalog.=) 'pg_catalog.array_subscript_handler'::pg_catalog.regproc::pg_catalog.oid then t.typelem end,
    'base', t.typbasetype,
    'relation', t.typrelid,
    'default', case when not exists (select from bound b
            where b.classid operator(pg_catalog.=) t.tableoid and b.objid operator(pg_catalog.=) t.oid)
        then pg_catalog.pg_get_expr(t.typdefaultbin, 0::pg_catalog.oid) end,
    'stored', case when t.typdefaultbin is not null
        then array[t.tableoid, t.oid, 0::pg_catalog.oid, t.xmin::pg_catalog.text::pg_catalog.oid] end)
from pg_catalog.pg_type t join spaces n on n.oid operator(pg_catalog.=) t.typnamespace
where (select k.whole from asked k) or not n.system or t.oid::pg_catalog.int8 operator(pg_catalog.>=) 16384

union all select 'type_check', pg_catalog.json_build_object(
    'type', k.contypid,
    'text', case when not exists (select from bound b
            where b.classid operator(pg_catalog.=) k.tableoid and b.objid operator(pg_catalog.=) k.oid)
        then pg_catalog.pg_get_expr(k.conbin, 0::pg_catalog.oid) end,
    'stored', array[k.tableoid, k.oid, 0::pg_catalog.oid, k.xmin::pg_catalog.text::pg_catalog.oid])
from pg_catalog.pg_constraint k
where k.contypid operator(pg_catalog.<>) 0::pg_catalog.oid and k.contype operator(pg_catalog.=) 'c'::pg_catalog."char"

union all select 'type_function', pg_catalog.json_build_object('type', f.type, 'function', f.function)
from (
    select t.oid as type, pg_catalog.unnest(array[
        t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze, t.typsubscript
    ]::pg_catalog.oid[]) as function
    from pg_catalog.pg_type t
    union all
    select r.rngtypid, pg_catalog.unnest(array[r.rngcanonical, r.rngsubdiff]::pg_catalog.oid[]) from pg_catalog.pg_range r
) f join routines p on p.oid operator(pg_catalog.=) f.function
