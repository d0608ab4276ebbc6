// The SQLite store with real files: what is in them, and what happens when they can't be written.

#include "broker_testing.hpp"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

namespace fs = std::filesystem;

class TempDirectory {
public:
    TempDirectory()
    {
        std::string name = (fs::temp_directory_path() / "rt-sqlite.XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("mkdtemp failed");
        }
        path_ = name;
    }
    ~TempDirectory()
    {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    TempDirectory(const TempDirectory&) = delete;
    TempDirectory& operator=(const TempDirectory&) = delete;

    std::string file(const char* name = "events.db") const { return path_ / name; }
    const fs::path& path() const { return path_; }

private:
    fs::path path_;
};

// A second program at the file, as an operator with the sqlite3 shell would be.
class Database {
public:
    explicit Database(const std::string& path)
    {
        sqlite3* db = nullptr;
        const int code = sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr);
        db_.reset(db);
        if (code != SQLITE_OK) {
            throw std::runtime_error("cannot open " + path + ": " + sqlite3_errstr(code));
        }
        sqlite3_busy_timeout(db, 5'000);
    }

    // The rows, columns joined by "|", NULL as "NULL".
    std::vector<std::string> query(const std::string& sql)
    {
        std::vector<std::string> rows;
        const auto add = [](void* out, int count, char** values, char**) {
            std::string row;
            for (int i = 0; i < count; ++i) {
                row += (i > 0 ? "|" : "") + std::string(values[i] != nullptr ? values[i] : "NULL");
            }
            static_cast<std::vector<std::string>*>(out)->push_back(std::move(row));
            return 0;
        };
        char* error = nullptr;
        if (sqlite3_exec(db_.get(), sql.c_str(), add, &rows, &error) != SQLITE_OK) {
            const std::string text = error != nullptr ? error : "unknown error";
            sqlite3_free(error);
            throw std::runtime_error(sql + ": " + text);
        }
        return rows;
    }
    std::string value(const std::string& sql) { return query(sql).at(0); }

private:
    struct Close {
        void operator()(sqlite3* db) const { sqlite3_close(db); }
    };
    std::unique_ptr<sqlite3, Close> db_;
};

BrokerConfig configFor(const std::string& path)
{
    BrokerConfig config;
    config.name = "events";
    config.node = "node1";
    config.servers = {parseBrokerServer("sqlite:" + path)};
    return config;
}

void awaitUnavailable(Loop& loop)
{
    eventually("unavailable", [&] { return loop.broker.admits(1) == Offer::Unavailable; });
    eventually("noted", [&] {
        loop.take();
        return !loop.notes.empty();
    });
}

void awaitAvailable(Loop& loop)
{
    eventually("available", [&] { return loop.broker.admits(1) == Offer::Queued; });
}

// Runs `body` in a process of its own, without root's rights if there are any; true if it did not throw.
bool asOrdinaryUser(const fs::path& place, const std::function<void()>& body)
{
    if (geteuid() == 0 && chown(place.c_str(), 65'534, 65'534) != 0) {
        throw std::runtime_error("chown failed");
    }
    const pid_t child = fork();
    if (child == 0) {
        int code = 0;
        try {
            if (geteuid() == 0 && (setgid(65'534) != 0 || setuid(65'534) != 0)) {
                throw std::runtime_error("setuid failed");
            }
            body();
        } catch (const std::exception& e) {
            fprintf(stderr, "%s\n", e.what());
            code = 1;
        }
        _exit(code);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void require(bool holds, const char* what)
{
    if (!holds) {
        throw std::runtime_error(std::string("is not so: ") + what);
    }
}

} // namespace

TEST(a_row_holds_all_that_is_known_of_an_event)
{
    const TempDirectory directory;
    Loop loop(configFor(directory.file()));
    auto event = makeEvent("abc-1", 1);
    event.userId = "u1";
    event.socketId = "1.2";
    event.data = "gr\xc3\xbc\xc3\x9f dich";
    assert_true(loop.broker.offer(event) == Offer::Queued);
    loop.awaitCompletions(1);
    assert_true(loop.completions[0].stored);
    Database database(directory.file());
    assert_text_equal(database.value("SELECT seq, id, app, channel, event, content_type, data, typeof(data), "
                                     "published_at, node, user_id, socket_id, routing_key FROM events"),
                      "1|abc-1|shop|orders|message|text/plain|gr\xc3\xbc\xc3\x9f dich|text|"
                      "2023-11-14T22:13:20.123Z|node1|u1|1.2|orders");
    assert_text_equal(database.value("SELECT strftime('%s', published_at) FROM events"), "1700000000");
    assert_text_equal(database.value("PRAGMA user_version"), "1");
    assert_text_equal(database.value("PRAGMA journal_mode"), "wal");
}

TEST(what_is_not_known_is_null_and_empty_data_is_text)
{
    const TempDirectory directory;
    auto config = configFor(directory.file());
    config.node.clear();
    Loop loop(config);
    BrokerEvent event;
    event.messageId = "x-1";
    event.token = 1;
    assert_true(loop.broker.offer(event) == Offer::Queued);
    loop.awaitCompletions(1);
    assert_text_equal(
        Database(directory.file())
            .value("SELECT app, channel, event, content_type, typeof(data), length(data), published_at, "
                   "node, user_id, socket_id, routing_key FROM events"),
        "NULL|NULL|NULL|NULL|text|0|1970-01-01T00:00:00.000Z|NULL|NULL|NULL|NULL");
}

TEST(data_that_is_not_text_is_a_blob_of_the_same_bytes)
{
    const TempDirectory directory;
    Loop loop(configFor(directory.file()));
    const std::string cases[] = {std::string("a\0b", 3), "\xff\xfe", "\xed\xa0\x80", std::string(1, '\0')};
    std::uint64_t token = 0;
    for (const auto& data : cases) {
        ++token;
        auto event = makeEvent(std::to_string(token), token);
        event.data = data;
        assert_true(loop.broker.offer(event) == Offer::Queued);
    }
    loop.awaitCompletions(4);
    const auto rows =
        Database(directory.file()).query("SELECT typeof(data), hex(data) FROM events ORDER BY seq");
    assert_true((rows == std::vector<std::string>{"blob|610062", "blob|FFFE", "blob|EDA080", "blob|00"}));
}

TEST(times_before_1970_and_far_ahead_are_written_sanely)
{
    const TempDirectory directory;
    Loop loop(configFor(directory.file()));
    const std::int64_t times[] = {-1, 253'402'300'799'999, INT64_MAX};
    std::uint64_t token = 0;
    for (const auto time : times) {
        ++token;
        auto event = makeEvent(std::to_string(token), token);
        event.timeMs = time;
        assert_true(loop.broker.offer(event) == Offer::Queued);
    }
    loop.awaitCompletions(3);
    const auto rows = Database(directory.file()).query("SELECT published_at FROM events ORDER BY seq");
    assert_text_equal(rows.at(0), "1969-12-31T23:59:59.999Z");
    assert_text_equal(rows.at(1), "9999-12-31T23:59:59.999Z");
    assert_int_equal(rows.size(), 3);
}

TEST(events_are_stored_in_the_order_they_were_offered)
{
    const TempDirectory directory;
    Loop loop(configFor(directory.file()));
    for (std::uint64_t i = 1; i <= 10'000; ++i) {
        loop.offer(std::to_string(i), i);
    }
    loop.awaitCompletions(10'000);
    for (std::size_t i = 0; i < 10'000; ++i) {
        assert_int_equal(loop.completions[i].token, i + 1);
    }
    Database database(directory.file());
    assert_text_equal(database.value("SELECT count(*), sum(id = seq) FROM events"), "10000|10000");
}

TEST(an_id_that_is_there_already_is_left_alone)
{
    const TempDirectory directory;
    {
        Loop loop(configFor(directory.file()));
        loop.offer("a", 1);
        auto again = makeEvent("a", 2);
        again.data = "other";
        assert_true(loop.broker.offer(again) == Offer::Queued);
        loop.awaitCompletions(2);
        assert_int_equal(loop.storedTokens(), 2);
    }
    Loop successor(configFor(directory.file()));
    successor.offer("a", 1);
    successor.offer("b", 2);
    successor.awaitCompletions(2);
    const auto rows = Database(directory.file()).query("SELECT id, data FROM events ORDER BY seq");
    assert_true((rows == std::vector<std::string>{"a|data of a", "b|data of b"}));
}

TEST(a_missing_directory_is_named_and_not_made)
{
    const TempDirectory directory;
    const auto missing = directory.path() / "missing";
    Loop loop(configFor((missing / "events.db").string()));
    awaitUnavailable(loop);
    assert_int_equal(loop.notesWith("sqlite:" + missing.string() + "/events.db: cannot open it: directory " +
                                    missing.string() + ": No such file or directory"),
                     1);
    assert_false(fs::exists(missing));
    fs::create_directory(missing);
    awaitAvailable(loop);
    loop.offer("1", 1);
    loop.awaitCompletions(1);
}

TEST(a_path_that_is_no_database_is_named)
{
    const TempDirectory directory;
    fs::create_directory(directory.file("folder"));
    std::ofstream(directory.file("garbage")) << std::string(10'000, 'x');
    for (const auto& [name, reason] : {std::pair<const char*, const char*>{"folder", "it is a directory"},
                                       {"garbage", "file is not a database"}}) {
        Loop loop(configFor(directory.file(name)));
        awaitUnavailable(loop);
        assert_int_equal(loop.notesWith(directory.file(name)), 1);
        assert_int_equal(loop.notesWith(reason), 1);
    }
}

TEST(a_layout_of_a_later_version_is_not_touched)
{
    const TempDirectory directory;
    std::ofstream(directory.file()).flush();
    Database(directory.file()).query("CREATE TABLE other (x); PRAGMA user_version = 2");
    Loop loop(configFor(directory.file()));
    awaitUnavailable(loop);
    assert_int_equal(loop.notesWith("its layout is version 2, this program knows version 1"), 1);
    assert_text_equal(Database(directory.file()).value("SELECT count(*) FROM sqlite_schema"), "1");
}

TEST(a_read_only_directory_or_file_makes_the_store_unavailable_until_mended)
{
    const TempDirectory directory;
    const auto path = directory.file();
    assert_true(asOrdinaryUser(directory.path(), [&] {
        chmod(directory.path().c_str(), 0500);
        Loop loop(configFor(path));
        awaitUnavailable(loop);
        require(loop.notesWith("directory " + directory.path().string() + ": Permission denied") == 1,
                "the reason is told");
        chmod(directory.path().c_str(), 0700);
        awaitAvailable(loop);
        loop.offer("1", 1);
        loop.awaitCompletions(1);
        require(loop.storedTokens() == 1, "it is stored once the directory can be written");
    }));
    assert_true(asOrdinaryUser(directory.path(), [&] {
        chmod(path.c_str(), 0400);
        Loop loop(configFor(path));
        awaitUnavailable(loop);
        require(loop.notesWith("cannot write it: " + path + ": Permission denied") == 1,
                "the reason is told");
        chmod(path.c_str(), 0600);
        awaitAvailable(loop);
        loop.offer("2", 1);
        loop.awaitCompletions(1);
    }));
    assert_text_equal(Database(path).value("SELECT count(*) FROM events"), "2");
}

TEST(a_full_disk_makes_the_store_unavailable_until_there_is_room_and_loses_nothing)
{
    const TempDirectory directory;
    if (mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=2m") != 0) {
        print_message("skipped: cannot mount a tmpfs (%s)\n", std::strerror(errno));
        skip();
    }
    struct Unmount {
        const fs::path& path;
        ~Unmount() { umount2(path.c_str(), MNT_DETACH); }
    } const unmount{directory.path()};

    Loop loop(configFor(directory.file()));
    std::uint64_t offered = 0;
    eventually("full", [&] {
        auto event = makeEvent(std::to_string(offered + 1), offered + 1);
        event.data.assign(20'000, 'x');
        const Offer answer = loop.broker.offer(std::move(event));
        offered += answer == Offer::Queued ? 1 : 0;
        loop.take();
        return answer == Offer::Unavailable;
    });
    assert_true(offered > 20);
    assert_true(loop.storedTokens() < offered);
    std::this_thread::sleep_for(1s); // several attempts
    loop.take();
    assert_true(loop.broker.admits(1) == Offer::Unavailable);
    assert_int_equal(loop.notesWith("full"), 1); // one line, not one an event or an attempt
    assert_true(loop.broker.stats().state == BrokerState::Down);

    assert_int_equal(mount("tmpfs", directory.path().c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
    loop.awaitCompletions(offered);
    assert_int_equal(loop.storedTokens(), offered);
    awaitAvailable(loop);
    Database database(directory.file());
    assert_text_equal(database.value("SELECT count(*), max(id = seq) FROM events"),
                      std::to_string(offered) + "|1");
}

TEST(two_brokers_share_one_file)
{
    const TempDirectory directory;
    Loop a(configFor(directory.file())), b(configFor(directory.file()));
    for (std::uint64_t i = 1; i <= 3'000; ++i) {
        a.offer("a" + std::to_string(i), i);
        b.offer("b" + std::to_string(i), i);
        if (i % 100 == 0) { // several transactions of each
            a.take();
            b.take();
            std::this_thread::sleep_for(1ms);
        }
    }
    a.awaitCompletions(3'000);
    b.awaitCompletions(3'000);
    assert_int_equal(a.storedTokens() + b.storedTokens(), 6'000);
    assert_text_equal(Database(directory.file()).value("SELECT count(*) FROM events"), "6000");
    assert_int_equal(a.notesWith("lock") + b.notesWith("lock"), 0);
}

TEST(another_writer_is_waited_for_and_a_lock_that_stays_is_a_fault)
{
    const TempDirectory directory;
    auto config = configFor(directory.file());
    config.confirmTimeout = 500ms;
    Loop loop(config);
    loop.offer("1", 1);
    loop.awaitCompletions(1);

    Database other(directory.file());
    other.query("BEGIN IMMEDIATE");
    loop.offer("2", 2);
    std::this_thread::sleep_for(100ms); // long enough for attempts, too short for a fault
    loop.take();
    assert_int_equal(loop.completions.size(), 1);
    assert_true(loop.broker.admits(1) == Offer::Queued);
    other.query("COMMIT");
    loop.awaitCompletions(2);

    other.query("BEGIN IMMEDIATE");
    loop.offer("3", 3);
    awaitUnavailable(loop);
    eventually("noted", [&] {
        loop.take();
        return loop.notesWith("another process keeps it locked") == 1;
    });
    other.query("COMMIT");
    loop.awaitCompletions(3);
    awaitAvailable(loop);
    assert_int_equal(loop.storedTokens(), 3);
}

TEST(stopping_is_bounded_while_the_file_is_locked)
{
    const TempDirectory directory;
    auto config = configFor(directory.file());
    config.drain = 200ms;
    Loop loop(config);
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    Database other(directory.file());
    other.query("BEGIN IMMEDIATE");
    loop.offer("2", 2);
    const auto start = std::chrono::steady_clock::now();
    loop.broker.stop();
    assert_true(std::chrono::steady_clock::now() - start < 3s);
    loop.take();
    assert_int_equal(loop.completions.size(), 2);
    assert_false(loop.completions[1].stored);
}

TEST(a_long_reader_does_not_stop_writing)
{
    const TempDirectory directory;
    Loop loop(configFor(directory.file()));
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    Database reader(directory.file());
    reader.query("BEGIN; SELECT count(*) FROM events");
    for (std::uint64_t i = 2; i <= 1'000; ++i) {
        loop.offer(std::to_string(i), i);
    }
    loop.awaitCompletions(1'000);
    assert_text_equal(reader.value("SELECT count(*) FROM events"), "1");
    reader.query("COMMIT");
    assert_text_equal(reader.value("SELECT count(*) FROM events"), "1000");
}

TEST(a_deleted_file_is_noticed_and_made_anew)
{
    const TempDirectory directory;
    Loop loop(configFor(directory.file()));
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    for (const char* suffix : {"", "-wal", "-shm"}) {
        fs::remove(directory.file() + suffix);
    }
    loop.offer("2", 2);
    loop.awaitCompletions(2);
    assert_text_equal(Database(directory.file()).value("SELECT group_concat(id) FROM events"), "2");
    loop.take();
    assert_int_equal(loop.notesWith("moved away or deleted"), 1);
}

TEST(every_completed_event_survives_a_sudden_death)
{
    const TempDirectory directory;
    std::uint64_t next = 1; // ids, over all lives
    for (int life = 0; life < 6; ++life) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        const pid_t child = fork();
        if (child == 0) {
            Loop loop(configFor(directory.file()));
            for (std::uint64_t id = next;; ++id) {
                while (loop.broker.offer(makeEvent(std::to_string(id), id)) != Offer::Queued) {
                    std::this_thread::yield();
                }
                loop.completions.clear();
                loop.take();
                for (const auto& completion : loop.completions) {
                    if (completion.stored && write(fds[1], &completion.token, sizeof(completion.token)) < 0) {
                        _exit(1);
                    }
                }
            }
        }
        close(fds[1]);
        std::uint64_t completed = 0, token = 0;
        std::vector<std::uint64_t> promised;
        const std::size_t enough = 500 + static_cast<std::size_t>(life) * 777;
        while (read(fds[0], &token, sizeof(token)) == sizeof(token)) {
            promised.push_back(token);
            if (++completed == enough) {
                kill(child, SIGKILL);
            }
        }
        close(fds[0]);
        waitpid(child, nullptr, 0);
        assert_true(completed >= enough);

        Database database(directory.file());
        assert_text_equal(database.value("PRAGMA integrity_check"), "ok");
        const auto rows = database.query("SELECT id FROM events");
        const std::set<std::string> present(rows.begin(), rows.end());
        for (const auto id : promised) {
            if (!present.contains(std::to_string(id))) {
                fail_msg("event %llu was completed and is not there", static_cast<unsigned long long>(id));
            }
            next = std::max(next, id + 1);
        }
    }
}

TEST_MAIN()
