import jakarta.servlet.http.*;
import java.nio.file.Path;
import me.desair.tus.server.*;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

/** A server of resumable uploads by tus-java-server, in Tomcat: java ResumableServer FOLDER PORT [MAX-APPEND]. */
public class ResumableServer {
  public static void main(String[] words) throws Exception {
    TusFileUploadService service = new TusFileUploadService()
        .withSupportedProtocolVersions(ProtocolVersion.RUFH).withUploadUri("/files").withStoragePath(words[0])
        .withUploadExpirationPeriod(words.length > 3 ? Long.parseLong(words[3]) : 3600_000L);
    if (words.length > 2 && !words[2].equals("0")) service = service.withMaxAppendSize(Long.parseLong(words[2]));
    final TusFileUploadService served = service;
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(Path.of(words[0], "tomcat").toString());
    tomcat.setPort(Integer.parseInt(words[1]));
    tomcat.getConnector().setProperty("address", "127.0.0.1");
    tomcat.getConnector().setProperty("maxSwallowSize", "-1");
    Context context = tomcat.addContext("", Path.of(words[0]).toString());
    Tomcat.addServlet(context, "uploads", new HttpServlet() {
      @Override protected void service(HttpServletRequest in, HttpServletResponse out) throws java.io.IOException {
        served.process(in, out);
      }
    });
    context.addServletMappingDecoded("/*", "uploads");
    tomcat.start();
    System.out.println("{\"port\": " + tomcat.getConnector().getLocalPort() + "}");
    System.out.flush();
    while (System.in.read() >= 0) {}
    System.exit(0);
  }
}
