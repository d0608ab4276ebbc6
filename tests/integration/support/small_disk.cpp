#include "support/small_disk.hpp"

#include "support/check.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>

#include <sys/mount.h>
#include <unistd.h>

namespace realtime::testing {

SmallDisk::SmallDisk(const std::string& size) : options_("mode=0777,size=" + size)
{
    mounted_ = mount("tmpfs", path().c_str(), "tmpfs", 0, options_.c_str()) == 0;
    if (mounted_) {
        return;
    }
    const std::string problem = std::string("cannot mount a tmpfs: ") + std::strerror(errno);
    if (geteuid() == 0) {
        throw std::runtime_error(problem);
    }
    std::cerr << "skipped, not root: " << problem << '\n';
}

SmallDisk::~SmallDisk()
{
    if (mounted_) {
        umount2(path().c_str(), MNT_DETACH);
    }
}

void SmallDisk::fill()
{
    std::ofstream file(ballast(), std::ios::binary);
    const std::string piece(4096, 'x');
    while (file << piece << std::flush) {
    }
}

void SmallDisk::makeRoom()
{
    std::filesystem::remove(ballast());
}

void SmallDisk::setReadOnly(bool on)
{
    if (mount("tmpfs", path().c_str(), "tmpfs", MS_REMOUNT | (on ? MS_RDONLY : 0), options_.c_str()) != 0) {
        throw std::runtime_error(std::string("cannot remount: ") + std::strerror(errno));
    }
}

} // namespace realtime::testing
