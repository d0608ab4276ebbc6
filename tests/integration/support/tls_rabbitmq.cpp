#include "support/tls_rabbitmq.hpp"

#include "support/check.hpp"

namespace realtime::testing {

TlsRabbitMq::TlsRabbitMq() : port_(freePort())
{
    writeFile(file("make"), "set -e; cd " + directory_.path().string() + R"(
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca
for who in server client; do
    openssl req -newkey rsa:2048 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
    echo "subjectAltName=DNS:localhost" > $who.ext
    openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $who.ext -out $who.pem
done
openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 2 -subj /CN=other-ca
chmod 644 *.key
)");
    expectEqual(run({"sh", file("make")}).status, 0);
    std::filesystem::create_directory(file("rabbit"));
    writeFile(file("rabbit/extra.conf"), "listeners.ssl.1 = 127.0.0.1:" + std::to_string(port_) +
                                             "\nssl_options.cacertfile = " + file("ca.pem") +
                                             "\nssl_options.certfile = " + file("server.pem") +
                                             "\nssl_options.keyfile = " + file("server.key") +
                                             "\nssl_options.verify = verify_peer\n"
                                             "ssl_options.fail_if_no_peer_cert = true\n");
    const auto started = run({REALTIME_RABBITMQ_SCRIPT, "start", file("rabbit")}, {}, 120s);
    if (started.status != 0) {
        throw std::runtime_error("rabbitmq.sh start: " + started.output);
    }
}

TlsRabbitMq::~TlsRabbitMq()
{
    try {
        run({REALTIME_RABBITMQ_SCRIPT, "stop", file("rabbit")});
    } catch (const std::exception&) {
        // Nobody is left to be told.
    }
}

std::string TlsRabbitMq::url(const std::string& host) const
{
    return "amqps://guest:guest@" + host + ':' + std::to_string(port_) + "/%2F";
}

std::string TlsRabbitMq::ctl(const std::vector<std::string>& arguments) const
{
    std::vector<std::string> command{REALTIME_RABBITMQ_SCRIPT, "ctl", file("rabbit")};
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto done = run(command);
    expectEqual(done.status, 0);
    return done.output;
}

} // namespace realtime::testing
