-- What a Catalog is read from: rows of a kind and a JSON object, in no order. For PostgreSQL 15 to 18.
--
-- Every name and every operator is written in full, so that nothing in the search path of whoever asks can answer in its place; what
-- would look up an operator by itself (IN, BETWEEN, NULLIF, CASE x WHEN, IS DISTINCT FROM, JOIN USING) does not occur.
with
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
    select p.*, n.name as schema
    from pg_catalog.pg_proc p join spaces n on n.oid operator(pg_catalog.=) p.pronamespace
    where not n.system or p.oid::pg_catalog.int8 operator(pg_catalog.>=) 16384
)

select 'path' as kind, pg_catalog.json_build_object('path', pg_catalog.current_schemas(true)::pg_catalog.text[]) as facts

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
    'default', case when not c.system then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end)
from pg_catalog.pg_attribute a join tables c on c.oid operator(pg_catalog.=) a.attrelid
    left join pg_catalog.pg_attrdef d on d.adrelid operator(pg_catalog.=) a.attrelid and d.adnum operator(pg_catalog.=) a.attnum
where a.attnum operator(pg_catalog.>) 0 and not a.attisdropped

union all select 'view', pg_catalog.json_build_object('id', c.oid, 'definition', pg_catalog.pg_get_viewdef(c.oid))
from tables c
where not c.system and c.relkind operator(pg_catalog.=) any (array['v', 'm']::pg_catalog."char"[])

union all select 'child', pg_catalog.json_build_object('id', i.inhrelid, 'parent', i.inhparent)
from pg_catalog.pg_inherits i join tables c on c.oid operator(pg_catalog.=) i.inhrelid

union all select 'trigger', pg_catalog.json_build_object(
    'relation', t.tgrelid, 'name', t.tgname, 'type', t.tgtype, 'function', t.tgfoid,
    'definition', case when t.tgqual is not null then pg_catalog.pg_get_triggerdef(t.oid) end)
from pg_catalog.pg_trigger t
where not t.tgisinternal and t.tgenabled operator(pg_catalog.<>) 'D'::pg_catalog."char"

union all select 'event_trigger', pg_catalog.json_build_object('function', e.evtfoid, 'event', e.evtevent, 'tags', e.evttags)
from pg_catalog.pg_event_trigger e
where e.evtenabled operator(pg_catalog.<>) 'D'::pg_catalog."char"

union all select 'rule', pg_catalog.json_build_object(
    'relation', r.ev_class, 'name', r.rulename, 'type', r.ev_type, 'instead', r.is_instead,
    'definition', pg_catalog.pg_get_ruledef(r.oid))
from pg_catalog.pg_rewrite r join tables c on c.oid operator(pg_catalog.=) r.ev_class
where not c.system and r.ev_enabled operator(pg_catalog.<>) 'D'::pg_catalog."char"
    and r.ev_type operator(pg_catalog.<>) '1'::pg_catalog."char"

union all select 'expression', pg_catalog.json_build_object('relation', e.relation, 'text', e.text)
from (
    select k.conrelid as relation, pg_catalog.pg_get_expr(k.conbin, k.conrelid) as text
    from pg_catalog.pg_constraint k
    where k.contype operator(pg_catalog.=) 'c'::pg_catalog."char" and k.conrelid operator(pg_catalog.<>) 0::pg_catalog.oid
    union all
    select i.indrelid, pg_catalog.pg_get_expr(i.indexprs, i.indrelid) from pg_catalog.pg_index i where i.indexprs is not null
    union all
    select i.indrelid, pg_catalog.pg_get_expr(i.indpred, i.indrelid) from pg_catalog.pg_index i where i.indpred is not null
    union all
    select t.partrelid, pg_catalog.pg_get_expr(t.partexprs, t.partrelid)
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
    'relation', p.polrelid,
    'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
from pg_catalog.pg_policy p join tables c on c.oid operator(pg_catalog.=) p.polrelid
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
    'body', case when p.prosqlbody is not null then pg_catalog.pg_get_function_sqlbody(p.oid) end,
    'arguments', p.proargtypes::pg_catalog.oid[],
    'defaults', p.pronargdefaults,
    'default_expressions', pg_catalog.pg_get_expr(p.proargdefaults, 0::pg_catalog.oid),
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
    'default', pg_catalog.pg_get_expr(t.typdefaultbin, 0::pg_catalog.oid))
from pg_catalog.pg_type t join spaces n on n.oid operator(pg_catalog.=) t.typnamespace

union all select 'type_check', pg_catalog.json_build_object(
    'type', k.contypid, 'text', pg_catalog.pg_get_expr(k.conbin, 0::pg_catalog.oid))
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
