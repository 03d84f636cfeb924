import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Prints the IPv4 address of a name. */
public class Lookup {
    public static void main(String[] arguments) throws Exception {
        StringBuilder text = new StringBuilder("\022\064\001\0\0\001\0\0\0\0\0\0");
        for (String label : arguments[0].split("\\.")) {
            text.append((char) label.length()).append(label);
        }
        byte[] query = text.append("\0\0\001\0\001").toString().getBytes(StandardCharsets.ISO_8859_1);
        InetSocketAddress resolver = new InetSocketAddress("127.0.0.53", 53);
        try (DatagramSocket socket = new DatagramSocket()) {
            socket.send(new DatagramPacket(query, query.length, resolver));
            DatagramPacket answer = new DatagramPacket(new byte[512], 512);
            socket.receive(answer);
            if (!answer.getSocketAddress().equals(resolver)) {
                throw new Exception("answered by " + answer.getSocketAddress());
            }
            int end = answer.getLength();
            byte[] address = Arrays.copyOfRange(answer.getData(), end - 4, end);
            System.out.println(InetAddress.getByAddress(address).getHostAddress());
        }
    }
}
