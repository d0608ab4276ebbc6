// Who gets a directory or a file that the configuration names: what exists keeps its owner and its permissions, whatever it
// is; what is made is for the workers' user alone.
#include "broker/event_files.hpp"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include "testing.hpp"

using namespace realtime;

namespace {

constexpr uid_t Stranger = 61234;

class Directory {
public:
    Directory()
    {
        char name[] = "/tmp/realtime-event-files-XXXXXX";
        if (mkdtemp(name) == nullptr) {
            throw std::runtime_error("no directory");
        }
        path_ = name;
        chmod(name, 0755); // the workers' user comes through
    }
    ~Directory()
    {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    std::string operator/(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
};

void write(const std::string& path, const std::string& text = "text")
{
    std::ofstream(path) << text;
}

struct stat statusOf(const std::string& path)
{
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0) {
        throw std::runtime_error("no " + path);
    }
    return info;
}

unsigned permissionsOf(const std::string& path)
{
    return statusOf(path).st_mode & 07777;
}

FileUser stranger()
{
    return {Stranger, {Stranger}, "stranger"};
}

// Only root can have workers of another user.
FileUser worker()
{
    return geteuid() == 0 ? stranger() : currentFileUser();
}

std::string refusalOf(const std::string& path, const FileUser& user, IfMissing missing = IfMissing::Make)
{
    try {
        prepareSpoolDirectory(path, user, missing);
    } catch (const FileRefusal& refusal) {
        return refusal.what();
    }
    return "";
}

void has(const std::string& text, const std::string& part)
{
    if (text.find(part) == std::string::npos) {
        fail_msg("no \"%s\" in \"%s\"", part.c_str(), text.c_str());
    }
}

} // namespace

TEST(a_spool_directory_is_made_for_the_workers_alone)
{
    const Directory directory;
    const std::string spool = directory / "spool";
    const mode_t before = umask(0);
    assert_int_equal(prepareSpoolDirectory(spool, worker(), IfMissing::Make).size(), 0);
    umask(before);
    assert_int_equal(permissionsOf(spool), 0700);
    assert_int_equal(statusOf(spool).st_uid, worker().id);
    // The next configuration finds it as it is.
    assert_int_equal(prepareSpoolDirectory(spool, worker(), IfMissing::Make).size(), 0);
}

TEST(a_test_of_the_configuration_makes_nothing)
{
    const Directory directory;
    assert_int_equal(prepareSpoolDirectory(directory / "spool", worker(), IfMissing::Leave).size(), 0);
    assert_false(std::filesystem::exists(directory / "spool"));
    has(refusalOf(directory / "nowhere/spool", worker(), IfMissing::Leave), "nowhere: No such file");
}

TEST(what_exists_keeps_its_owner_and_its_permissions)
{
    const Directory directory;
    write(directory / "file");
    chmod((directory / "file").c_str(), 0644);
    std::filesystem::create_directory(directory / "directory");
    chmod((directory / "directory").c_str(), 0755);
    symlink((directory / "directory").c_str(), (directory / "link").c_str());
    symlink((directory / "nothing").c_str(), (directory / "dangling").c_str());
    mkfifo((directory / "pipe").c_str(), 0600);
    for (const char* name : {"file", "directory", "link", "dangling", "pipe"}) {
        const std::string path = directory / name;
        const struct stat before = statusOf(path);
        for (const IfMissing missing : {IfMissing::Leave, IfMissing::Make}) {
            has(refusalOf(path, stranger(), missing), path);
        }
        assert_int_equal(statusOf(path).st_uid, before.st_uid);
        assert_int_equal(statusOf(path).st_mode, before.st_mode);
    }
    has(refusalOf(directory / "file", stranger()), "is no directory");
    has(refusalOf(directory / "link", stranger()), "is a symbolic link");
    has(refusalOf(directory / "dangling", stranger()), "is a symbolic link");
    has(refusalOf(directory / "directory", stranger()), "the workers run as \"stranger\"");
    has(refusalOf(directory / "file/spool", stranger()), "is no directory");
    assert_false(std::filesystem::exists(directory / "nothing"));
    has(refusalOf("/etc/passwd", stranger()), "is no directory");
}

TEST(links_on_the_way_are_followed_if_nobody_else_has_set_them)
{
    const Directory directory;
    std::filesystem::create_directory(directory / "real");
    chmod((directory / "real").c_str(), 0755);
    symlink("real", (directory / "link").c_str());
    symlink((directory / "link").c_str(), (directory / "again").c_str());
    symlink("circle", (directory / "circle").c_str());
    assert_string_equal(refusalOf(directory / "again/spool", worker()).c_str(), "");
    assert_true(std::filesystem::is_directory(directory / "real/spool"));
    has(refusalOf(directory / "circle/spool", worker()), "cannot be followed");
    if (geteuid() != 0) {
        return; // nobody else's links can be made
    }
    assert_int_equal(lchown((directory / "link").c_str(), Stranger, static_cast<gid_t>(-1)), 0);
    has(refusalOf(directory / "link/other", stranger()), "a symbolic link of user");
    assert_false(std::filesystem::exists(directory / "real/other"));
}

TEST(who_else_can_write_to_a_spool_is_told)
{
    const Directory directory;
    const std::string spool = directory / "spool";
    std::filesystem::create_directory(spool);
    chmod(spool.c_str(), 0777);
    const auto warnings = prepareSpoolDirectory(spool, currentFileUser(), IfMissing::Make);
    assert_int_equal(warnings.size(), 1);
    has(warnings.front(), "can be written by others");
    assert_int_equal(permissionsOf(spool), 0777);
    chmod(spool.c_str(), 0500);
    has(refusalOf(spool, currentFileUser()), "cannot be written by its owner");
}

TEST(a_store_that_its_user_cannot_write_is_a_warning)
{
    const Directory directory;
    std::filesystem::create_directory(directory / "data");
    chmod((directory / "data").c_str(), 0755);
    auto warnings = examineStore(directory / "missing/events.db", stranger());
    assert_int_equal(warnings.size(), 1);
    has(warnings.front(), "its directory does not exist");

    warnings = examineStore(directory / "data/events.db", stranger());
    assert_int_equal(warnings.size(), 1);
    has(warnings.front(), "data cannot be written by user \"stranger\"");

    chmod((directory / "data").c_str(), 0777);
    assert_int_equal(examineStore(directory / "data/events.db", stranger()).size(), 0);
    write(directory / "data/events.db");
    chmod((directory / "data/events.db").c_str(), 0644);
    warnings = examineStore(directory / "data/events.db", stranger());
    assert_int_equal(warnings.size(), 1);
    has(warnings.front(), "events.db\" cannot be written by user \"stranger\"");
    assert_int_equal(permissionsOf(directory / "data/events.db"), 0644);

    chmod((directory / "data").c_str(), 0700);
    chmod((directory / "data/events.db").c_str(), 0666);
    warnings = examineStore(directory / "data/events.db", stranger());
    assert_true(!warnings.empty());
    has(warnings.front(), "out of reach");
}

TEST(a_store_that_is_no_file_is_refused)
{
    const Directory directory;
    write(directory / "file");
    symlink((directory / "file").c_str(), (directory / "link").c_str());
    const struct {
        std::string path;
        const char* words;
    } cases[] = {{directory / ".", "is a directory"},
                 {directory / "link", "is a symbolic link"},
                 {"/dev/null", "is no regular file"},
                 {directory / "file/events.db", "is no directory"}};
    for (const auto& one : cases) {
        try {
            examineStore(one.path, currentFileUser());
            fail_msg("%s is taken", one.path.c_str());
        } catch (const FileRefusal& refusal) {
            has(refusal.what(), one.words);
        }
    }
}

TEST(a_file_that_the_workers_cannot_read_is_told)
{
    const Directory directory;
    write(directory / "key.pem");
    chmod((directory / "key.pem").c_str(), 0640);
    symlink("key.pem", (directory / "link.pem").c_str());
    for (const char* name : {"key.pem", "link.pem"}) {
        const auto warnings = examineReadable(directory / name, stranger());
        assert_int_equal(warnings.size(), 1);
        has(warnings.front(), "cannot be read by user \"stranger\"");
    }
    FileUser member = stranger();
    member.groups.push_back(statusOf(directory / "key.pem").st_gid);
    assert_int_equal(examineReadable(directory / "key.pem", member).size(), 0);
    assert_int_equal(examineReadable("", member).size(), 0);
}

TEST(an_event_file_is_for_its_owner_alone_and_made_once)
{
    const Directory directory;
    const mode_t before = umask(0);
    makeEventFile(directory / "events.db");
    umask(before);
    assert_int_equal(permissionsOf(directory / "events.db"), 0600);
    write(directory / "events.db", "kept");
    chmod((directory / "events.db").c_str(), 0640);
    makeEventFile(directory / "events.db");
    assert_int_equal(permissionsOf(directory / "events.db"), 0640);
    assert_int_equal(statusOf(directory / "events.db").st_size, 4);
    symlink((directory / "elsewhere").c_str(), (directory / "link.db").c_str());
    makeEventFile(directory / "link.db");
    assert_false(std::filesystem::exists(directory / "elsewhere"));
}

TEST_MAIN()
