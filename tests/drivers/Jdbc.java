// JDBC, as an ordinary program uses it: prepared statements that become the server's own, batches, cursors, COPY, notifications.

import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static int passed = 0;

    interface Part {
        void run(Connection conn) throws Exception;
    }

    static void check(String what, Object got, Object expected) {
        if (!Objects.deepEquals(got, expected)) throw new AssertionError(what + ": expected " + expected + ", got " + got);
        passed++;
    }

    interface Attempt {
        void run() throws Exception;
    }

    static SQLException refused(String what, String sqlstate, Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (SQLException error) {
            check(what, error.getSQLState(), sqlstate);
            return error;
        }
        throw new AssertionError(what + ": no error");
    }

    static Connection connect(String... more) throws SQLException {
        Map<String, String> env = System.getenv();
        Properties properties = new Properties();
        properties.setProperty("user", env.get("PGUSER"));
        properties.setProperty("password", env.get("PGPASSWORD"));
        properties.setProperty("sslmode", env.getOrDefault("PGSSLMODE", "prefer"));
        if (env.containsKey("PGSSLROOTCERT")) properties.setProperty("sslrootcert", env.get("PGSSLROOTCERT"));
        for (int i = 0; i < more.length; i += 2) properties.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE"), properties);
    }

    static Object one(Connection conn, String sql) throws SQLException {
        try (Statement statement = conn.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getObject(1);
        }
    }

    static void values(Connection conn) throws Exception {
        OffsetDateTime at = OffsetDateTime.of(2024, 2, 29, 12, 30, 1, 123456000, ZoneOffset.UTC);
        UUID uuid = UUID.randomUUID();
        // Beyond the fifth run the statement is the server's own, and results come in binary.
        try (PreparedStatement statement = conn.prepareStatement(
                "select ?::int, ?::bigint, ?::float8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::uuid, ?::int[], ?::bool, null::int")) {
            for (int i = 0; i < 12; i++) {
                statement.setInt(1, i);
                statement.setLong(2, Long.MIN_VALUE + i);
                statement.setDouble(3, 1.5e-300);
                statement.setBigDecimal(4, new java.math.BigDecimal("12345678901234567890.000000001"));
                statement.setString(5, "naïve — 日本語");
                statement.setBytes(6, new byte[] {0, 1, (byte) 255});
                statement.setObject(7, at);
                statement.setObject(8, uuid);
                statement.setArray(9, conn.createArrayOf("int4", new Integer[] {1, null, 3}));
                statement.setBoolean(10, true);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    check("int", rows.getInt(1), i);
                    check("bigint", rows.getLong(2), Long.MIN_VALUE + i);
                    check("float8", rows.getDouble(3), 1.5e-300);
                    check("numeric", rows.getBigDecimal(4).toPlainString(), "12345678901234567890.000000001");
                    check("text", rows.getString(5), "naïve — 日本語");
                    check("bytea", rows.getBytes(6), new byte[] {0, 1, (byte) 255});
                    check("timestamptz", rows.getObject(7, OffsetDateTime.class), at);
                    check("uuid", rows.getObject(8), uuid);
                    check("array", rows.getArray(9).getArray(), new Integer[] {1, null, 3});
                    check("bool", rows.getBoolean(10), true);
                    check("null", rows.getObject(11), null);
                }
            }
        }
        check("prepared at the server", (Long) one(conn, "select count(*) from pg_prepared_statements where name like 'S\\_%'") > 0, true);
    }

    static void statements(Connection conn) throws Exception {
        try (Statement statement = conn.createStatement()) {
            statement.execute("create temp table people (id int primary key, name text not null)");
            check("several statements", statement.execute("select 1; update people set name = 'x'; select 2"), true);
            check("no more rows", statement.getMoreResults(), false);
            check("update count", statement.getUpdateCount(), 0);
            check("third", statement.getMoreResults(), true);
        }
        try (PreparedStatement insert = conn.prepareStatement("insert into people values (?, ?)")) {
            for (int i = 0; i < 2000; i++) {
                insert.setInt(1, i);
                insert.setString(2, "person " + i);
                insert.addBatch();
            }
            check("batch", Arrays.stream(insert.executeBatch()).sum(), 2000);
        }
        try (PreparedStatement insert = conn.prepareStatement("insert into people values (?, ?)")) {
            for (int id : new int[] {5000, 7, 5001}) {
                insert.setInt(1, id);
                insert.setString(2, "x");
                insert.addBatch();
            }
            BatchUpdateException error = (BatchUpdateException) refused("batch with an error", "23505", insert::executeBatch);
            check("counts", error.getUpdateCounts().length, 3);
        }
        check("the batch is undone", one(conn, "select count(*) from people where id >= 5000"), 0L);
        try (PreparedStatement insert = conn.prepareStatement("insert into people values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            insert.setInt(1, 9000);
            insert.setString(2, "returned");
            insert.executeUpdate();
            ResultSet keys = insert.getGeneratedKeys();
            keys.next();
            check("generated keys", keys.getInt("id"), 9000);
        }
        DatabaseMetaData catalog = conn.getMetaData();
        try (ResultSet columns = catalog.getColumns(null, null, "people", "%")) {
            List<String> names = new ArrayList<>();
            while (columns.next()) names.add(columns.getString("COLUMN_NAME"));
            check("metadata", names, List.of("id", "name"));
        }
    }

    static void transactions(Connection conn) throws Exception {
        conn.setAutoCommit(false);
        Statement statement = conn.createStatement();
        statement.executeUpdate("delete from people where id = 1");
        Savepoint savepoint = conn.setSavepoint("here");
        refused("undefined table", "42P01", () -> statement.executeQuery("select * from nowhere"));
        refused("aborted", "25P02", () -> statement.executeQuery("select 1"));
        conn.rollback(savepoint);
        check("after the savepoint", one(conn, "select count(*) from people where id = 1"), 0L);
        conn.rollback();
        check("after rollback", one(conn, "select count(*) from people where id = 1"), 1L);
        conn.commit();
        SQLException unique = refused("unique", "23505", () -> statement.executeUpdate("insert into people values (7, 'x')"));
        check("constraint", ((org.postgresql.util.PSQLException) unique).getServerErrorMessage().getConstraint(), "people_pkey");
        conn.rollback();
    }

    // Portals that are resumed: needs a transaction and a fetch size.
    static void cursors(Connection conn) throws Exception {
        try (Statement statement = conn.createStatement()) {
            statement.setFetchSize(100);
            try (ResultSet rows = statement.executeQuery("select n from generate_series(1, 2345) n")) {
                long sum = 0;
                while (rows.next()) sum += rows.getInt(1);
                check("fetch size", sum, 2345L * 2346 / 2);
            }
        }
        try (PreparedStatement one = conn.prepareStatement("select n from generate_series(1, ?) n");
                PreparedStatement other = conn.prepareStatement("select -n from generate_series(1, ?) n")) {
            one.setFetchSize(7);
            other.setFetchSize(5);
            one.setInt(1, 50);
            other.setInt(1, 50);
            try (ResultSet ones = one.executeQuery(); ResultSet others = other.executeQuery()) {
                int sum = 0;
                while (ones.next() && others.next()) sum += ones.getInt(1) + others.getInt(1);
                check("two portals side by side", sum, 0);
            }
        }
        conn.commit();
        conn.setAutoCommit(true);
    }

    static void copies(Connection conn) throws Exception {
        CopyManager copy = conn.unwrap(PGConnection.class).getCopyAPI();
        one(conn, "select 1");
        try (Statement statement = conn.createStatement()) {
            statement.execute("create temp table copied (id int, body text)");
        }
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 20000; i++) lines.append(i).append("\tbody ").append(i).append('\n');
        check("copy in", copy.copyIn("copy copied from stdin", new StringReader(lines.toString())), 20000L);
        StringWriter out = new StringWriter();
        check("copy out", copy.copyOut("copy (select * from copied order by id) to stdout", out), 20000L);
        check("copied", out.toString().contentEquals(lines), true);
        refused("bad copy", "22P02", () -> copy.copyIn("copy copied from stdin", new ByteArrayInputStream("x\ty\n".getBytes(StandardCharsets.UTF_8))));
        var abandoned = copy.copyIn("copy copied from stdin");
        abandoned.writeToCopy("1\tx\n".getBytes(StandardCharsets.UTF_8), 0, 4);
        abandoned.cancelCopy();
        check("after copies", one(conn, "select count(*) from copied"), 20000L);
    }

    static void notifications(Connection conn) throws Exception {
        try (Statement statement = conn.createStatement()) {
            statement.execute("listen bells");
            statement.execute("do $$ begin raise warning 'heard'; end $$");
            check("warning", statement.getWarnings().getMessage(), "heard");
        }
        try (Connection other = connect(); Statement statement = other.createStatement()) {
            statement.execute("notify bells, 'ding'");
        }
        PGNotification[] heard = conn.unwrap(PGConnection.class).getNotifications(10_000);
        check("notification", heard[0].getName() + " " + heard[0].getParameter(), "bells ding");
    }

    static void cancels(Connection conn) throws Exception {
        try (Statement statement = conn.createStatement()) {
            Thread other = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            other.start();
            refused("cancelled", "57014", () -> statement.execute("select pg_sleep(60)"));
            other.join();
            statement.setQueryTimeout(1);
            refused("query timeout", "57014", () -> statement.execute("select pg_sleep(60)"));
        }
        check("the session lives", one(conn, "select 1"), 1);
    }

    // In each of the driver's ways of asking.
    static void modes() throws Exception {
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            try (Connection conn = connect("preferQueryMode", mode, "prepareThreshold", "1", "binaryTransfer", "true", "reWriteBatchedInserts", "true");
                    Statement statement = conn.createStatement()) {
                statement.execute("create temp table t (id int, body text)");
                try (PreparedStatement insert = conn.prepareStatement("insert into t values (?, ?)")) {
                    for (int i = 0; i < 300; i++) {
                        insert.setInt(1, i);
                        insert.setString(2, "it's " + i);
                        insert.addBatch();
                    }
                    insert.executeBatch();
                }
                check(mode, one(conn, "select count(*) from t where body like 'it''s %'"), 300L);
                refused(mode + ", an error", "22012", () -> statement.executeQuery("select 1 / 0"));
                check(mode + ", after it", one(conn, "select max(id) from t"), 299);
            }
        }
    }

    public static void main(String[] arguments) {
        try {
            try (Connection conn = connect()) {
                Part[] parts = {Jdbc::values, Jdbc::statements, Jdbc::transactions, Jdbc::cursors, Jdbc::copies, Jdbc::notifications, Jdbc::cancels};
                for (Part part : parts) part.run(conn);
            }
            modes();
        } catch (Throwable error) {
            error.printStackTrace();
            System.err.println("failed after " + passed + " checks");
            System.exit(1);
        }
        System.out.println("ok " + passed + " checks");
    }
}
