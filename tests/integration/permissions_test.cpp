// The files of brokers and secrets: what exists stays its owner's, what is made is for the workers alone, and what they
// cannot use is said when the configuration is read.
#include "support/realtime.hpp"
#include "support/sqlite.hpp"

#include <csignal>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

struct stat statusOf(const std::filesystem::path& path)
{
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0) {
        throw std::runtime_error("no " + path.string());
    }
    return info;
}

std::string permissionsOf(const std::filesystem::path& path)
{
    char text[8];
    std::snprintf(text, sizeof(text), "%o", statusOf(path).st_mode & 07777);
    return text;
}

uid_t nobody()
{
    const passwd* entry = getpwnam("nobody");
    expect(entry != nullptr, "there is a user nobody");
    return entry->pw_uid;
}

// Workers of another user than the master's.
NginxOptions asNobody(const std::string& broker)
{
    auto options = endpoints();
    options.user = "nobody nogroup";
    options.http = "realtime_broker events {\n" + broker + "\n}\nrealtime_app default { broker events; }\n";
    options.server += "location = /stored { realtime_publish room ack=stored; }\n";
    return options;
}

std::string away(const std::string& spool)
{
    return "server amqp://127.0.0.1:" + std::to_string(freePort()) + "; spool " + spool + ";";
}

// As a daemon's is, so that only what is said for each file counts.
class NoUmask {
public:
    NoUmask() : before_(umask(0)) {}
    ~NoUmask() { umask(before_); }
    NoUmask(const NoUmask&) = delete;
    NoUmask& operator=(const NoUmask&) = delete;

private:
    mode_t before_;
};

} // namespace

TEST(a_spool_that_is_made_and_its_files_are_for_the_workers_alone)
{
    if (geteuid() != 0) {
        skip();
    }
    const NoUmask none;
    const Nginx nginx(asNobody(away("%DIR%/data/spool")));
    expectEqual(post(nginx.url("/stored"), "a").status, 200L);
    const auto spool = nginx.directory() / "data/spool";
    expectEqual(permissionsOf(spool), "700");
    expectEqual(statusOf(spool).st_uid, nobody());
    int files = 0;
    for (const auto& file : std::filesystem::directory_iterator(spool)) {
        expectEqual(permissionsOf(file.path()) + ' ' + file.path().filename().string(),
                    "600 " + file.path().filename().string());
        expectEqual(statusOf(file.path()).st_uid, nobody());
        files++;
    }
    expect(files >= 3, "the spool, its log of writes and its lock are there");
}

TEST(a_store_that_is_made_is_for_the_workers_alone)
{
    const NoUmask none;
    const Nginx nginx(asNobody("server sqlite:%DIR%/data/events.db;"));
    expectEqual(post(nginx.url("/stored"), "a").status, 200L);
    for (const char* name : {"events.db", "events.db-wal", "events.db-shm"}) {
        expectEqual(permissionsOf(nginx.directory() / "data" / name) + ' ' + name,
                    std::string("600 ") + name);
    }
}

TEST(a_store_keeps_the_permissions_that_an_operator_gives_it)
{
    const TempDir data;
    const auto file = data.path() / "events.db";
    writeFile(file, "");
    std::filesystem::permissions(file, std::filesystem::perms(0664));
    auto options = asNobody("server sqlite:" + file.string() + ";");
    options.user = "root";
    {
        const Nginx nginx(options);
        expectEqual(post(nginx.url("/stored"), "a").status, 200L);
        expectEqual(permissionsOf(data.path() / "events.db-wal"), "664");
    }
    expectEqual(permissionsOf(file), "664");
    expectEqual(query(file, "select data from events").size(), std::size_t{1});
}

TEST(what_exists_is_not_given_to_the_workers)
{
    if (geteuid() != 0) {
        skip();
    }
    const TempDir directory;
    const auto path = directory.path();
    writeFile(path / "file", "root's");
    std::filesystem::permissions(path / "file", std::filesystem::perms(0600));
    std::filesystem::create_directory(path / "directory");
    std::filesystem::create_directory_symlink(path / "directory", path / "link");
    std::filesystem::create_directory(path / "theirs");
    expectEqual(chown((path / "theirs").c_str(), nobody(), static_cast<gid_t>(-1)), 0);
    std::filesystem::create_directory_symlink(path / "theirs", path / "link-to-theirs");
    expectEqual(lchown((path / "link").c_str(), nobody(), static_cast<gid_t>(-1)), 0);
    const struct {
        const char* name;
        const char* words;
    } cases[] = {{"file", "is no directory"},
                 {"directory", "belongs to user \"root\", and the workers run as \"nobody\""},
                 {"link", "is a symbolic link"},
                 {"link-to-theirs", "is a symbolic link"},
                 {"link/new", "a symbolic link of user \"nobody\""},
                 {"nowhere/new", "No such file or directory"},
                 {"file/new", "is no directory"}};
    for (const auto& one : cases) {
        const auto result =
            testConfiguration(asNobody("server amqp://h;\nspool " + (path / one.name).string() + ";"));
        expectEqual(result.status, 1);
        expectContains(result.output, one.words);
        expectContains(result.output, "nginx.conf:");
    }
    expectEqual(statusOf(path / "file").st_uid, uid_t{0});
    expectEqual(permissionsOf(path / "file"), "600");
    expectEqual(statusOf(path / "directory").st_uid, uid_t{0});
    expect(!std::filesystem::exists(path / "directory/new"), "nothing was made");
    // Their own is taken as it is.
    expectEqual(testConfiguration(asNobody(away((path / "theirs").string()))).status, 0);
}

TEST(a_test_of_the_configuration_makes_no_spool)
{
    const TempDir directory;
    const auto spool = directory.path() / "spool";
    const auto result = testConfiguration(asNobody(away(spool.string())));
    expectEqual(result.status, 0);
    expectLacks(result.output, "[warn]");
    expect(!std::filesystem::exists(spool), "it is made when nginx starts");
}

TEST(another_user_for_the_workers_is_refused_while_a_spool_belongs_to_the_old_one)
{
    if (geteuid() != 0) {
        skip();
    }
    const TempDir directory;
    const auto spool = directory.path() / "spool";
    auto options = asNobody(away(spool.string()));
    options.expectedErrors = {"belongs to user \"nobody\""};
    Nginx nginx(options);
    const auto workers = nginx.workers();
    options.user = "daemon";
    nginx.rewrite(options);
    kill(nginx.master(), SIGHUP);
    eventually([&] { return nginx.countInErrorLog("and the workers run as \"daemon\"") == 1; },
               "it is refused");
    expect(nginx.workers() == workers, "and the old workers go on");
    expectEqual(post(nginx.url("/stored"), "a").status, 200L);
    expectEqual(statusOf(spool).st_uid, nobody());
}

TEST(a_store_out_of_reach_is_warned_of_and_used_when_that_is_mended)
{
    if (geteuid() != 0) {
        skip();
    }
    const TempDir directory;
    const auto data = directory.path() / "data";
    auto options = asNobody("server sqlite:" + (data / "events.db").string() + ";");
    expectContains(testConfiguration(options).output, "its directory does not exist");
    std::filesystem::create_directory(data);
    std::filesystem::permissions(data, std::filesystem::perms(0755));
    expectContains(testConfiguration(options).output, "cannot be written by user \"nobody\"");

    const Nginx nginx(options);
    expectContains(nginx.errorLog(), "cannot be written by user \"nobody\"");
    eventually([&] { return post(nginx.url("/stored"), "a").status == 503; }, "events are refused");
    expectEqual(chown(data.c_str(), nobody(), static_cast<gid_t>(-1)), 0);
    eventually([&] { return post(nginx.url("/stored"), "a").status == 200; }, "and taken");
    expectLacks(testConfiguration(options).output, "[warn]");
}

TEST(a_store_that_is_a_link_is_refused)
{
    const TempDir directory;
    writeFile(directory.path() / "file", "");
    std::filesystem::create_symlink(directory.path() / "file", directory.path() / "link.db");
    const auto result =
        testConfiguration(asNobody("server sqlite:" + (directory.path() / "link.db").string() + ";"));
    expectEqual(result.status, 1);
    expectContains(result.output, "is a symbolic link: name the file itself");
}

TEST(a_secret_that_everybody_can_read_is_warned_of_and_never_told)
{
    const TempDir directory;
    const auto file = directory.path() / "shop.secret";
    writeFile(file, "s2d81e6f04c7b93a5512\nsecond line\n");
    NginxOptions options;
    options.http = "realtime_app shop {\nkey k9f;\nsecret_file " + file.string() + ";\n}";
    for (const int mode : {0600, 0640, 0660}) { // a group is somebody's choice
        std::filesystem::permissions(file, std::filesystem::perms(mode));
        const auto result = testConfiguration(options);
        expectEqual(result.status, 0);
        expectLacks(result.output, "[warn]");
    }
    for (const int mode : {0644, 0604, 0602}) {
        std::filesystem::permissions(file, std::filesystem::perms(mode));
        const auto result = testConfiguration(options);
        expectEqual(result.status, 0);
        expectContains(result.output, "[warn]");
        expectContains(result.output, "by every user of this machine: chmod 600 is wanted");
        expectLacks(result.output, "s2d81e6f04c7b93a5512");
    }
    // Nor by what is refused.
    std::filesystem::permissions(file, std::filesystem::perms(0600));
    for (const std::string& text : std::vector<std::string>{
             "secret_file " + file.string() + "; secret other;", "secret s2d8; secret s2d8;",
             "secret s2d8 s2d8;", "secret_file " + file.string() + "; nonsense;"}) {
        options.http = "realtime_app shop {\nkey k9f;\n" + text + "\n}";
        const auto result = testConfiguration(options);
        expectEqual(result.status, 1);
        expectLacks(result.output, "s2d8");
    }
    for (const char* text : {"", "\n", "  \r\nsecond line\n"}) {
        writeFile(file, text);
        options.http = "realtime_app shop { key k9f; secret_file " + file.string() + "; }";
        const auto result = testConfiguration(options);
        expectEqual(result.status, 1);
        expectContains(result.output, "no secret in");
    }
}

TEST(a_key_that_only_root_can_read_is_warned_of)
{
    if (geteuid() != 0) {
        skip();
    }
    const TempDir directory;
    const std::string path = directory.path();
    expectEqual(run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                     "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", path + "/key.pem", "-out",
                     path + "/cert.pem"})
                    .status,
                0);
    const auto options = asNobody("server amqps://h; tls_ca " + path + "/cert.pem; tls_cert " + path +
                                  "/cert.pem " + path + "/key.pem;");
    std::filesystem::permissions(path + "/key.pem", std::filesystem::perms(0600));
    const auto closed = testConfiguration(options);
    expectEqual(closed.status, 0);
    expectContains(closed.output, "key.pem\" cannot be read by user \"nobody\"");
    expectEqual(chown((path + "/key.pem").c_str(), nobody(), static_cast<gid_t>(-1)), 0);
    expectLacks(testConfiguration(options).output, "[warn]");
    // A key of another certificate.
    expectEqual(run({"openssl", "genrsa", "-out", path + "/key.pem"}).status, 0);
    const auto other = testConfiguration(options);
    expectEqual(other.status, 1);
    expectContains(other.output, "cannot load the key");
}

TEST_MAIN()
