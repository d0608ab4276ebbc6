#include "support/network.hpp"

#include "support/check.hpp"
#include "support/files.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace realtime::testing {
namespace {

void ip(const std::string& arguments)
{
    std::vector<std::string> command{"ip"};
    for (const std::string& word : split(arguments, ' ')) {
        command.push_back(word);
    }
    const auto done = run(command);
    if (done.status != 0) {
        throw std::runtime_error("ip " + arguments + ": " + done.output);
    }
}

OwnFd newNamespace()
{
    if (unshare(CLONE_NEWNET) != 0) {
        throw std::runtime_error(std::string("unshare: ") + std::strerror(errno));
    }
    ip("link set lo up");
    return OwnFd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

std::string port(std::size_t machine)
{
    return "port" + std::to_string(machine);
}

} // namespace

std::string Network::whyNot()
{
    const auto tried = run(
        {"unshare", "--net", "sh", "-c",
         "ip link add b0 type bridge && ip link add v0 type veth peer name v1 && ip link set v0 master b0"});
    return tried.status == 0 ? ""
                             : "network namespaces, bridges or veth pairs cannot be had: " + tried.output;
}

Network::Network(std::size_t machines) : home_(newNamespace())
{
    ip("link add switch type bridge");
    ip("address add " + std::string(HomeAddress) + "/24 dev switch");
    ip("link set switch up");
    const std::string home = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(home_.get());
    for (std::size_t i = 0; i < machines; ++i) {
        machines_.push_back(newNamespace());
        ip("link add eth0 type veth peer name " + port(i) + " netns " + home);
        ip("address add 10.77.0." + std::to_string(i + 1) + "/24 dev eth0");
        ip("link set eth0 up");
        setns(home_.get(), CLONE_NEWNET);
        ip("link set " + port(i) + " up");
        plug(i);
    }
}

void Network::unplug(std::size_t machine)
{
    ip("link set " + port(machine) + " nomaster");
}

void Network::plug(std::size_t machine)
{
    ip("link set " + port(machine) + " master switch");
}

Network::Visit::Visit(const Network& network, int machine) : network_(network)
{
    expect(setns(machine, CLONE_NEWNET) == 0, "a machine can be visited");
}

Network::Visit::~Visit()
{
    setns(network_.home_.get(), CLONE_NEWNET);
}

} // namespace realtime::testing
