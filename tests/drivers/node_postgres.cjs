// node-postgres, as an ordinary program uses it: pools, prepared statements, cursors, streams, COPY, notifications.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { once } = require('node:events')
const { pipeline } = require('node:stream/promises')
const { Readable, Writable } = require('node:stream')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')

let passed = 0
function check(what, got, expected) {
  assert.deepEqual(got, expected, what)
  passed++
}

async function refused(what, promise, sqlstate) {
  const error = await promise.then(() => assert.fail(`${what}: no error`), (error) => error)
  check(what, error.code, sqlstate)
  return error
}

// It reads PGHOST, PGPASSWORD and the rest by itself, but takes TLS's particulars in words of its own.
function settings(more = {}) {
  const verify = { ca: fs.existsSync(process.env.PGSSLROOTCERT ?? '') && fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8'), rejectUnauthorized: true }
  return { ssl: process.env.PGSSLMODE === 'verify-full' ? verify : false, ...more }
}

async function connect(more) {
  const client = new Client(settings(more))
  await client.connect()
  return client
}

async function values(client) {
  const row = (await client.query(
    `select $1::int as i, $2::text as t, $3::jsonb as j, $4::bytea as b, $5::text[] as a, $6::bool as f, null as n, $7::timestamptz as at`,
    [42, 'naïve — 日本語', { a: [1, null] }, Buffer.from([0, 1, 255]), ['x', null, 'y"z'], false, new Date(0)],
  )).rows[0]
  check('values', { ...row, b: [...row.b] }, { i: 42, t: 'naïve — 日本語', j: { a: [1, null] }, b: [0, 1, 255], a: ['x', null, 'y"z'], f: false, n: null, at: new Date(0) })
  check('binary results', (await client.query({ text: 'select 7::int4 as n', binary: true })).rows, [{ n: 7 }])
  check('rows as arrays', (await client.query({ text: 'select 1, 2', rowMode: 'array' })).rows, [[1, 2]])
  const several = await client.query('select 1 as a; select 2 as b; select 3 as c where false')
  check('several statements', several.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }], []])
  const big = 'x'.repeat(3_000_000)
  check('a large parameter', (await client.query('select length($1) as n, $1 as same', [big])).rows, [{ n: big.length, same: big }])
}

async function statements(client) {
  await client.query('create temp table people (id int primary key, name text not null)')
  const insert = { name: 'insert-person', text: 'insert into people values ($1, $2)' }
  for (let i = 0; i < 100; i++) check('prepared', (await client.query({ ...insert, values: [i, `p${i}`] })).rowCount, 1)
  // Queued at once; the answers come in order.
  const queued = await Promise.all(Array.from({ length: 50 }, (_, i) => client.query('select name from people where id = $1', [i])))
  check('queued', queued.map((result) => result.rows[0].name), Array.from({ length: 50 }, (_, i) => `p${i}`))
  check('command tag', (await client.query('update people set name = upper(name) where id < 10')).command, 'UPDATE')
}

async function errors(client) {
  await refused('syntax', client.query('selec'), '42601')
  await refused('division by zero', client.query('select 1 / $1::int', [0]), '22012')
  const unique = await refused('unique', client.query(`insert into people values (7, 'x')`), '23505')
  check('constraint', [unique.constraint, unique.detail], ['people_pkey', 'Key (id)=(7) already exists.'])
  await refused('bad input', client.query('select $1::int', ['seven']), '22P02')
  check('the session lives', (await client.query('select 1 as one')).rows, [{ one: 1 }])
  await client.query('begin')
  await refused('in a transaction', client.query('select * from nowhere'), '42P01')
  await refused('aborted', client.query('select 1'), '25P02')
  check('commit of a failed transaction', (await client.query('commit')).command, 'ROLLBACK')
}

async function cursors(client) {
  const cursor = client.query(new Cursor('select n from generate_series(1, $1::int) n', [250]))
  const lengths = []
  for (;;) {
    const rows = await cursor.read(100)
    lengths.push(rows.length)
    if (rows.length === 0) break
  }
  check('cursor', lengths, [100, 100, 50, 0])
  await cursor.close()
  const early = client.query(new Cursor('select n from generate_series(1, 100000) n'))
  check('cursor, first rows', (await early.read(3)).map((row) => row.n), [1, 2, 3])
  await early.close()
  let sum = 0
  for await (const row of client.query(new QueryStream('select n from generate_series(1, 20000) n', [], { batchSize: 512 }))) sum += row.n
  check('query stream', sum, (20000 * 20001) / 2)
}

async function copies(client) {
  await client.query('create temp table copied (id int, body text)')
  const lines = Array.from({ length: 20000 }, (_, i) => `${i}\tbody ${i}\n`)
  const into = client.query(copyFrom('copy copied from stdin'))
  await pipeline(Readable.from(lines), into)
  check('copy in', into.rowCount, lines.length)
  let out = ''
  await pipeline(client.query(copyTo('copy (select * from copied order by id) to stdout')), new Writable({
    write(chunk, _encoding, done) {
      out += chunk
      done()
    },
  }))
  check('copy out', out === lines.join(''), true)
  await refused('bad copy', pipeline(Readable.from(['x\ty\n']), client.query(copyFrom('copy copied from stdin'))), '22P02')
  check('after copies', (await client.query('select count(*)::int as n from copied')).rows, [{ n: 20000 }])
}

async function notifications(client) {
  const notices = []
  client.on('notice', (notice) => notices.push([notice.severity, notice.message]))
  await client.query(`do $$ begin raise notice 'heard %', 1; end $$`)
  check('notice', notices, [['NOTICE', 'heard 1']])
  await client.query('listen bells')
  const heard = once(client, 'notification')
  const other = await connect()
  await other.query(`notify bells, 'ding'`)
  await other.end()
  const [{ channel, payload }] = await heard
  check('notification', [channel, payload], ['bells', 'ding'])
}

async function cancels() {
  const client = await connect({ statement_timeout: 200 })
  await refused('statement_timeout', client.query('select pg_sleep(60)'), '57014')
  await client.query('set statement_timeout = 0')
  const sleeping = refused('cancelled', client.query('select pg_sleep(60) as slept'), '57014')
  const { pid } = (await (async () => {
    const other = await connect()
    for (;;) {
      const found = await other.query(`select pid, pg_cancel_backend(pid) from pg_stat_activity where query = 'select pg_sleep(60) as slept' and state = 'active'`)
      if (found.rows.length) {
        await other.end()
        return found.rows[0]
      }
    }
  })())
  await sleeping
  check('the process id is the server\'s', client.processID, pid)
  await client.end()
}

async function pools() {
  const pool = new Pool(settings({ max: 4, application_name: 'node' }))
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => pool.query('select $1::int as i', [i])))
  check('pool', answers.map((answer) => answer.rows[0].i), Array.from({ length: 60 }, (_, i) => i))
  await pool.end()
}

async function main() {
  const client = await connect()
  for (const part of [values, statements, errors, cursors, copies, notifications]) await part(client)
  await client.end()
  await cancels()
  await pools()
  console.log(`ok ${passed} checks`)
}

main().catch((error) => {
  console.error(error)
  console.error(`failed after ${passed} checks`)
  process.exit(1)
})
