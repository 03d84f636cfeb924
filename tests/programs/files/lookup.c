/* Prints the first address of a name. */

#include <netdb.h>
#include <stdio.h>

int main(int count, char **arguments)
{
	struct addrinfo *found;
	char address[64];
	int error = getaddrinfo(arguments[count - 1], "80", NULL, &found);

	if (!error)
		error = getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof(address),
				    NULL, 0, NI_NUMERICHOST);
	if (error) {
		fprintf(stderr, "%s\n", gai_strerror(error));
		return 1;
	}
	puts(address);
	return 0;
}
