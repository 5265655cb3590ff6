package main
import ("testing";"time";"context";"fmt")
func TestZZSlots(t *testing.T){
 w:=newLoadWorld(t)
 w.commit("first",3)
 if err:=w.push();err!=nil{t.Fatal(err)}
 idle:=w.idle(140)
 for i,c:=range idle { s,err:=c.NewSession(); if err!=nil{t.Fatal(err)}; if _,err:=s.StdinPipe();err!=nil{t.Fatal(err)}; if err:=s.Start("git-receive-pack 'config'");err!=nil{t.Fatal(i,err)} }
 b,n:=memory(w.server.cmd.Process.Pid)
 fmt.Println("processes",n,b>>20)
 w.commit("second",1)
 ctx,cancel:=context.WithTimeout(t.Context(),25*time.Second); defer cancel()
 r:=w.pushTo(ctx,199,w.in("work"),w.world.url,"main")
 fmt.Println(r.told,r.err,r.took)
}
