// A file system of the test's own that is soon full, and may be made read-only. It takes root, and the right to mount.
#pragma once

#include "support/files.hpp"

#include <string>

namespace realtime::testing {

class SmallDisk {
public:
    // Anybody may write it. `size`: as tmpfs has it, e.g. "2m".
    explicit SmallDisk(const std::string& size);
    ~SmallDisk();
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

    // Prints why not if it is false: then skip().
    bool mounted() const { return mounted_; }
    std::string path() const { return directory_.path(); }

    void fill(); // to the last byte
    void makeRoom();
    // Refused by the system while somebody has a file open for writing there; throws then.
    void setReadOnly(bool on);

private:
    std::string ballast() const { return path() + "/ballast"; }

    TempDir directory_;
    std::string options_;
    bool mounted_ = false;
};

} // namespace realtime::testing
