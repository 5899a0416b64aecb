import java.sql.*;

/** The JDBC driver where statements wait for people: the first is approved, the second denied, the third, of a batch, approved. */
public class HeldJdbc {
    static int checks = 0;

    static void check(String what, Object found, Object expected) {
        if (!found.equals(expected)) throw new AssertionError(what + ": " + found + ", expected " + expected);
        checks++;
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
            + "?sslmode=verify-full&sslrootcert=" + System.getenv("PGSSLROOTCERT");
        try (Connection connection = DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"))) {
            connection.setAutoCommit(false);
            try (PreparedStatement update = connection.prepareStatement("update notes set body = ?")) {
                update.setString(1, "jdbc");
                check("approved", update.executeUpdate(), 5);
            }
            connection.commit();
            try (Statement statement = connection.createStatement()) {
                statement.executeUpdate("delete from notes");
                throw new AssertionError("it was let through");
            } catch (SQLException error) {
                check("denied", error.getSQLState(), "42501");
            }
            connection.rollback();
            try (Statement statement = connection.createStatement()) {
                statement.addBatch("update notes set body = 'batch'");
                statement.addBatch("update notes set body = 'batch' where id = 1");
                int[] counts = statement.executeBatch();
                check("the batch", counts[0] + counts[1], 6);
            }
            connection.commit();
        }
        System.out.println("ok " + checks + " checks");
    }
}
