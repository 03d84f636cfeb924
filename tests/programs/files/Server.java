import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URL;

/** Tells callers their address and its own, or calls the URL that is given. */
public class Server {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0) {
            new URL(arguments[0]).openStream().transferTo(System.out);
            return;
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> {
            String from = exchange.getRemoteAddress().getAddress().getHostAddress();
            String at = exchange.getLocalAddress().getAddress().getHostAddress();
            byte[] answer = (from + " asked " + at + "\n").getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
    }
}
