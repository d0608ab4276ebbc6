#include "nginx/handover_socket.hpp"

#include "base/own_fd.hpp"
#include "hub/handover_record.hpp"

#include <array>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace realtime {

namespace {

constexpr std::size_t MaxDescriptors = 2; // the connection, and a file with the record

// The first byte of a packet.
constexpr char RecordFollows = 'r';
constexpr char RecordInFile = 'f';

bool writeAll(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        ssize_t n = write(fd, bytes.data(), bytes.size());
        if (n == -1 && errno != EINTR) {
            return false;
        }
        bytes.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
    }
    return true;
}

std::optional<std::string> readAll(int fd)
{
    struct stat info {};
    if (fstat(fd, &info) == -1 || !S_ISREG(info.st_mode) || info.st_size < 0 ||
        static_cast<std::uint64_t>(info.st_size) > MaxHandoverBytes) {
        return std::nullopt;
    }
    std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
    for (std::size_t at = 0; at < bytes.size();) {
        ssize_t n = pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
        if (n == 0 || (n == -1 && errno != EINTR)) {
            return std::nullopt;
        }
        at += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    return bytes;
}

struct Ancillary {
    alignas(cmsghdr) char bytes[CMSG_SPACE(MaxDescriptors * sizeof(int))];
};

Passed sendPacket(int socket, char tag, std::string_view record, const int* descriptors, std::size_t count)
{
    std::array<iovec, 2> parts{iovec{&tag, 1}, iovec{const_cast<char*>(record.data()), record.size()}};
    Ancillary ancillary{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = record.empty() ? 1 : 2;
    message.msg_control = ancillary.bytes;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));

    ssize_t n = 0;
    do {
        n = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);
    if (n >= 0) {
        return Passed::Ok;
    }
    // ETOOMANYREFS: as many descriptors travel as the user may have open (unix(7)).
    bool full = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS ||
                errno == ENOMEM;
    return full ? Passed::Full : Passed::Failed;
}

// The descriptors that came with a packet; more than fit are closed by the kernel.
std::array<OwnFd, MaxDescriptors> descriptorsOf(msghdr& message)
{
    std::array<OwnFd, MaxDescriptors> owners;
    std::size_t count = 0;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= header->cmsg_len; at += sizeof(int)) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + at, sizeof(fd));
            if (count < MaxDescriptors) {
                owners[count++] = OwnFd(fd);
            } else {
                close(fd);
            }
        }
    }
    return owners;
}

Arrival readPacket(const char* bytes, std::size_t size, std::array<OwnFd, MaxDescriptors>& descriptors)
{
    Arrival arrival;
    arrival.status = Arrival::Status::Failed;
    bool inFile = bytes[0] == RecordInFile;
    bool bothHere = descriptors[0].get() != -1 && (descriptors[1].get() != -1) == inFile;
    if (!bothHere || (!inFile && bytes[0] != RecordFollows)) {
        return arrival;
    }
    if (inFile) {
        auto record = readAll(descriptors[1].get());
        if (!record) {
            return arrival;
        }
        arrival.record = std::move(*record);
    } else {
        arrival.record.assign(bytes + 1, size - 1);
    }
    arrival.descriptor = descriptors[0].release();
    arrival.status = Arrival::Status::Came;
    return arrival;
}

} // namespace

ngx_int_t makeHandoverSockets(SharedLog& log, std::vector<OwnFd>& owner, ngx_log_t* cycleLog)
{
    if (log.handoverIn() != -1) {
        return NGX_OK; // made for the generation before: workers of both hold them
    }
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycleLog, ngx_errno, "realtime: socketpair() failed");
        return NGX_ERROR;
    }
    for (int fd : pair) {
        owner.emplace_back(fd);
    }
    log.setHandoverFds(pair[0], pair[1]);
    return NGX_OK;
}

Passed passConnection(int socket, std::string_view record, int descriptor)
{
    if (record.size() <= InlineBytes) {
        return sendPacket(socket, RecordFollows, record, &descriptor, 1);
    }
    OwnFd file(memfd_create("realtime-handover", MFD_CLOEXEC));
    if (file.get() == -1 || !writeAll(file.get(), record)) {
        return Passed::Failed;
    }
    const int both[] = {descriptor, file.get()};
    return sendPacket(socket, RecordInFile, {}, both, 2);
}

Arrival takeConnection(int socket, std::span<char> buffer)
{
    iovec part{buffer.data(), buffer.size()};
    Ancillary ancillary{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.bytes;
    message.msg_controllen = sizeof(ancillary.bytes);
    ssize_t n = 0;
    do {
        n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n == -1 && errno == EINTR);
    if (n <= 0) {
        return {};
    }
    auto descriptors = descriptorsOf(message);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        Arrival cut;
        cut.status = Arrival::Status::Failed;
        return cut;
    }
    return readPacket(buffer.data(), static_cast<std::size_t>(n), descriptors);
}

bool queueIsEmpty(int socket)
{
    pollfd queue{socket, POLLIN, 0};
    return poll(&queue, 1, 0) == 0;
}

} // namespace realtime
