// Go's pgx, as an ordinary program uses it: statements that are prepared by themselves, batches, COPY, pools, notifications.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var (
	ctx    = context.Background()
	passed int
)

func check(what string, got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Sprintf("%s: expected %v, got %v", what, expected, got))
	}
	passed++
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func refused(what string, err error, sqlstate string) {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		panic(fmt.Sprintf("%s: not an error of the server's: %v", what, err))
	}
	check(what, refusal.Code, sqlstate)
}

// It reads PGHOST, PGPASSWORD, PGSSLROOTCERT and the rest by itself.
func connect(more string) *pgx.Conn {
	conn, err := pgx.Connect(ctx, more)
	must(err)
	return conn
}

func one[T any](conn *pgx.Conn, sql string, arguments ...any) T {
	var value T
	must(conn.QueryRow(ctx, sql, arguments...).Scan(&value))
	return value
}

func values(conn *pgx.Conn) {
	at := time.Date(2024, 2, 29, 12, 30, 1, 123456000, time.UTC)
	for i := 0; i < 5; i++ {
		var (
			number  int64
			text    string
			bytes   []byte
			array   []int32
			when    time.Time
			more    map[string]any
			nothing *int32
		)
		row := conn.QueryRow(ctx, "select $1::bigint, $2::text, $3::bytea, $4::int[], $5::timestamptz, $6::jsonb, null::int",
			int64(-1<<63), "naïve — 日本語", []byte{0, 1, 255}, []int32{1, 2}, at, map[string]any{"a": "ü"})
		must(row.Scan(&number, &text, &bytes, &array, &when, &more, &nothing))
		check("bigint", number, int64(-1<<63))
		check("text", text, "naïve — 日本語")
		check("bytea", bytes, []byte{0, 1, 255})
		check("array", array, []int32{1, 2})
		check("timestamptz", when.Equal(at), true)
		check("jsonb", more, map[string]any{"a": "ü"})
		check("null", nothing, (*int32)(nil))
	}
	big := strings.Repeat("x", 3_000_000)
	check("a large parameter", one[string](conn, "select $1::text", big) == big, true)
}

func statements(conn *pgx.Conn) {
	_, err := conn.Exec(ctx, "create temp table people (id int primary key, name text not null)")
	must(err)
	batch := &pgx.Batch{}
	for i := 0; i < 500; i++ {
		batch.Queue("insert into people values ($1, $2)", i, fmt.Sprint("p", i))
	}
	batch.Queue("select count(*) from people")
	results := conn.SendBatch(ctx, batch)
	for i := 0; i < 500; i++ {
		tag, err := results.Exec()
		must(err)
		check("batch", tag.String(), "INSERT 0 1")
	}
	var count int
	must(results.QueryRow().Scan(&count))
	check("batch, a query", count, 500)
	must(results.Close())
	failing := &pgx.Batch{}
	failing.Queue("insert into people values (1000, 'x')")
	failing.Queue("insert into people values (7, 'x')")
	failing.Queue("insert into people values (1001, 'x')")
	refused("batch with an error", conn.SendBatch(ctx, failing).Close(), "23505")
	check("the batch is undone", one[int](conn, "select count(*)::int from people"), 500)
	_, err = conn.Prepare(ctx, "by id", "select name from people where id = $1")
	must(err)
	check("prepared", one[string](conn, "by id", 7), "p7")
	must(conn.Deallocate(ctx, "by id"))
	several, err := conn.PgConn().Exec(ctx, "select 1; select 2, 3; select 4 where false").ReadAll()
	must(err)
	check("several statements", []int{len(several[0].Rows), len(several[1].Rows[0]), len(several[2].Rows)}, []int{1, 2, 0})
}

func transactions(conn *pgx.Conn) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	must(err)
	_, err = tx.Exec(ctx, "delete from people where id = 1")
	must(err)
	nested, err := tx.Begin(ctx)
	must(err)
	_, err = nested.Exec(ctx, "select * from nowhere")
	refused("undefined table", err, "42P01")
	_, err = nested.Exec(ctx, "select 1")
	refused("aborted", err, "25P02")
	must(nested.Rollback(ctx))
	must(tx.Rollback(ctx))
	check("rolled back", one[int](conn, "select count(*)::int from people where id = 1"), 1)
	_, err = conn.Exec(ctx, "select 1 / $1::int", 0)
	refused("division by zero", err, "22012")
	_, err = conn.Exec(ctx, "selec")
	refused("syntax", err, "42601")
	check("the session lives", one[int](conn, "select 1"), 1)
}

func copies(conn *pgx.Conn) {
	_, err := conn.Exec(ctx, "create temp table copied (id int, body text)")
	must(err)
	rows := make([][]any, 20000)
	for i := range rows {
		rows[i] = []any{int32(i), fmt.Sprint("body ", i)}
	}
	count, err := conn.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"id", "body"}, pgx.CopyFromRows(rows))
	must(err)
	check("binary copy in", count, int64(len(rows)))
	var out strings.Builder
	tag, err := conn.PgConn().CopyTo(ctx, &out, "copy (select * from copied order by id) to stdout")
	must(err)
	check("copy out", tag.String(), "COPY 20000")
	check("copied", strings.Count(out.String(), "\n"), 20000)
	_, err = conn.PgConn().CopyFrom(ctx, strings.NewReader("x\ty\n"), "copy copied from stdin")
	refused("bad copy", err, "22P02")
	check("after copies", one[int](conn, "select count(*)::int from copied"), 20000)
}

func notifications(conn *pgx.Conn) {
	_, err := conn.Exec(ctx, "listen bells")
	must(err)
	other := connect("")
	_, err = other.Exec(ctx, "notify bells, 'ding'")
	must(err)
	must(other.Close(ctx))
	patience, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	heard, err := conn.WaitForNotification(patience)
	must(err)
	check("notification", heard.Channel+" "+heard.Payload, "bells ding")
}

func cancels(conn *pgx.Conn) {
	sleeping := make(chan error)
	go func() {
		_, err := conn.Exec(ctx, "select pg_sleep(60)")
		sleeping <- err
	}()
	time.Sleep(500 * time.Millisecond)
	must(conn.PgConn().CancelRequest(ctx))
	refused("cancelled", <-sleeping, "57014")
	check("the session lives", one[int](conn, "select 1"), 1)
	// A context that ends closes the connection, without a word.
	doomed := connect("")
	brief, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := doomed.Exec(brief, "select pg_sleep(60)")
	check("out of time", errors.Is(err, context.DeadlineExceeded), true)
	check("closed", doomed.IsClosed(), true)
}

func modes() {
	for _, mode := range []string{"statement_cache_mode=prepare", "statement_cache_mode=describe", "statement_cache_capacity=0"} {
		conn := connect(mode)
		for i := 0; i < 10; i++ {
			check(mode, one[int](conn, "select $1::int + 1", i), i+1)
		}
		var simple int
		must(conn.QueryRow(ctx, "select $1::int + 1", pgx.QuerySimpleProtocol(true), 41).Scan(&simple))
		check(mode+", simple", simple, 42)
		must(conn.Close(ctx))
	}
	pool, err := pgxpool.Connect(ctx, "pool_max_conns=4")
	must(err)
	answers := make(chan int)
	for i := 0; i < 50; i++ {
		go func(i int) {
			var answer int
			must(pool.QueryRow(ctx, "select $1::int", i).Scan(&answer))
			answers <- answer
		}(i)
	}
	sum := 0
	for i := 0; i < 50; i++ {
		sum += <-answers
	}
	check("pool", sum, 49*50/2)
	pool.Close()
}

func main() {
	defer func() {
		if failed := recover(); failed != nil {
			fmt.Fprintln(os.Stderr, failed, "\nfailed after", passed, "checks")
			os.Exit(1)
		}
	}()
	conn := connect("")
	for _, part := range []func(*pgx.Conn){values, statements, transactions, copies, notifications, cancels} {
		part(conn)
	}
	must(conn.Close(ctx))
	modes()
	fmt.Println("ok", passed, "checks")
}
