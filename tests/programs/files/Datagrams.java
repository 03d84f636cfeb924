import java.net.DatagramPacket;
import java.net.DatagramSocket;

/** Tells callers their address. */
public class Datagrams {
    public static void main(String[] arguments) throws Exception {
        try (DatagramSocket server = new DatagramSocket(7000)) {
            while (true) {
                DatagramPacket packet = new DatagramPacket(new byte[64], 64);
                server.receive(packet);
                String from = packet.getAddress().getHostAddress();
                packet.setData(String.format("%-50s.asked", from).getBytes());
                server.send(packet);
            }
        }
    }
}
