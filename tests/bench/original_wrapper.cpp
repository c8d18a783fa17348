// A stand-in of the original's job wrapper for the benchmark: a dynamically linked C++ program that says hello, takes the
// environment (entries separated by blanks, no quotes: enough for what the benchmark sends), a fresh socket, and executes the job.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int receive_descriptor(int socket) {
    char byte, room[CMSG_SPACE(sizeof(int))];
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) {
        std::cerr << "no descriptor" << std::endl;
        exit(1);
    }
    return *reinterpret_cast<int *>(CMSG_DATA(CMSG_FIRSTHDR(&message)));
}

int main(int argc, char **argv) {
    if (argc < 5) return 1;
    const uint32_t hello = 0xdeadbeef;
    int32_t length = 0;
    if (write(0, &hello, sizeof hello) != sizeof hello || read(0, &length, sizeof length) != sizeof length) return 1;
    std::vector<char> raw(length);
    for (int32_t got = 0; got < length;) {
        ssize_t more = read(0, raw.data() + got, length - got);
        if (more <= 0) return 1;
        got += more;
    }
    std::istringstream words(raw.data());
    for (std::string word; words >> word;) putenv(strdup(word.c_str()));
    int fresh = receive_descriptor(0);
    fcntl(fresh, F_SETFD, FD_CLOEXEC);
    for (int stream = 0; stream < 3; ++stream) {
        int opened = open(argv[1 + stream], stream ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0600);
        dup2(opened, stream);
        close(opened);
    }
    execv(argv[4], argv + 4);
    return 1;
}
